// Starts the page and keeps it in line with the server.
function update(photo) {
  const before = page.photos.get(photo.id);
  page.photos.set(photo.id, photo);
  drawList();
  if (!page.selected || !page.photos.has(page.selected)) {
    select(photo.id);
    const { activeElement } = document;
    if (activeElement === document.body || $(".drop").contains(activeElement)) $(".pick").focus({ preventScroll: true }); // the button that chose it is gone
  } else if (photo.id === page.selected) updateStage(photo, before);
  if (before && before.status !== photo.status) sayStatus(photo);
}

/** Shows a new result of the selected photo at once; the first result takes its photo to the stage. */
function updateStage(photo, before) {
  const finished = photo.status === "done" && before?.status !== "done";
  if (finished) showView("result");
  else if (before?.status === "running" && !isActive(photo)) requestPreview();
}

function sayStatus(photo) {
  const words = { running: "started", done: "done", failed: `failed. ${photo.error?.message ?? ""}`, cancelled: "cancelled" };
  if (words[photo.status]) say(`${photo.name}: ${words[photo.status]}`);
}

function forget(id) {
  page.photos.delete(id);
  drawList();
  if (page.selected === id) select(page.photos.keys().next().value);
}

function start() {
  const photos = photosToStart().map((photo) => photo.id);
  attempt("POST", "/api/queue", { json: { photos, choices: choices() } });
}

function cancelAll() {
  const photos = allPhotos().filter(isActive).map((photo) => photo.id);
  attempt("POST", "/api/cancel", { json: { photos } });
}

function restore(state) {
  page.limits = state.limits;
  page.suffixes = new Set(state.suffixes);
  page.queue = state.queue;
  fillModels(state.models, state.model);
  const folder = $("#open-folder");
  folder.hidden = state.folder === null;
  folder.title = state.folder ?? "";
  for (const id of page.photos.keys()) {
    if (!state.photos.some((photo) => photo.id === id)) page.photos.delete(id);
  }
  for (const photo of state.photos) update(photo);
  drawList();
  drawChoices();
}

function main() {
  history.replaceState(null, "", "/"); // the token leaves the address bar and the history
  watchAdding();
  watchChoices();
  watchStage();
  watchFrame();
  $("#start").addEventListener("click", start);
  $("#cancel-all").addEventListener("click", cancelAll);
  $("#open-folder").addEventListener("click", () => attempt("POST", "/api/open-folder"));
  connect({
    state: restore,
    photo: update,
    removed: ({ id }) => page.photos.has(id) && forget(id),
    queue: (queue) => {
      page.queue = queue;
      drawActions();
    },
  });
}

main();
