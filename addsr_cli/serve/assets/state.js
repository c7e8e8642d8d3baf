// What the page knows. `photos` are records of the server by id, `selected` is one of the ids.
const page = {
  photos: new Map(),
  selected: undefined,
  models: [],
  limits: {},
  suffixes: new Set(),
  queue: { active: 0, seconds_left: null },
  adding: 0, // files that are on their way
  batch: 0, // photos of the running batch, for the progress of all
};

const ACTIVE = ["waiting", "running"];
const isActive = (photo) => ACTIVE.includes(photo.status);
const allPhotos = () => [...page.photos.values()];
const selectedPhoto = () => page.photos.get(page.selected);
const modelNamed = (name) => page.models.find((model) => model.name === name);

/** Photos that the main button upscales: those without a result or, failing these, the selected one again. */
function photosToStart() {
  const fresh = allPhotos().filter((photo) => !isActive(photo) && photo.status !== "done");
  if (fresh.length) return fresh;
  const selected = selectedPhoto();
  return selected && selected.status === "done" ? [selected] : [];
}

const shareDone = (photo) => (photo.status === "running" && photo.total ? photo.done / photo.total : 0);
