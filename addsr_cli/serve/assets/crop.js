// The frame on the photo, and the live preview of what is in it.
const PREVIEW_SIDE = 512; // pixels of a preview
const MIN_CROP = 48; // pixels of the photo
const DELAY = 250; // milliseconds after the last change
const NUDGE = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const center = { x: 0.5, y: 0.5 }; // of the frame, as shares of the photo
let previewTimer;
let latestPreview = "";

/** The part of the photo that is previewed, in its pixels. */
function cropOf(photo) {
  const wanted = clamp(Math.round(PREVIEW_SIDE / factorFor(photo)), MIN_CROP, PREVIEW_SIDE);
  const [width, height] = photo.size.map((side) => Math.min(side, wanted));
  const start = (share, side, length) => clamp(Math.round(share * side - length / 2), 0, side - length);
  return { left: start(center.x, photo.size[0], width), top: start(center.y, photo.size[1], height), width, height };
}

function openPhoto(photo) {
  const image = $("#photo");
  center.x = 0.5;
  center.y = 0.5;
  latestPreview = "";
  shown.preview?.root.classList.add("stale");
  $("#photo-problem").hidden = true;
  $("#shade").hidden = true;
  image.hidden = false;
  image.alt = photo.name;
  image.src = photoPath(photo, "photo");
}

function drawFrame() {
  const photo = selectedPhoto();
  const image = $("#photo");
  const shade = $("#shade");
  const frame = $("#frame");
  shade.hidden = !photo || !image.naturalWidth || !choicesAreValid();
  if (shade.hidden) return;
  const crop = cropOf(photo);
  const scale = image.clientWidth / photo.size[0];
  const place = { left: crop.left * scale, top: crop.top * scale, width: crop.width * scale, height: crop.height * scale };
  put(shade, { left: image.offsetLeft, top: image.offsetTop, width: image.clientWidth, height: image.clientHeight });
  put(frame, place);
  frame.classList.toggle("tiny", Math.min(place.width, place.height) < 24);
}

function put(node, place) {
  for (const [name, value] of Object.entries(place)) node.style[name] = `${value}px`;
}

function moveFrame(x, y) {
  const photo = selectedPhoto();
  if (!photo) return;
  const { width, height } = cropOf(photo);
  const within = (share, length) => clamp(share, Math.min(length / 2, 0.5), Math.max(1 - length / 2, 0.5));
  center.x = within(x, width / photo.size[0]);
  center.y = within(y, height / photo.size[1]);
  drawFrame();
  requestPreview();
}

function watchFrame() {
  const image = $("#photo");
  const area = $(".whole-photo");
  const frame = $("#frame");
  image.addEventListener("load", () => {
    drawFrame();
    requestPreview();
  });
  image.addEventListener("error", showPhotoProblem);
  new ResizeObserver(drawFrame).observe(area);
  let grip;
  area.addEventListener("pointerdown", (event) => {
    if (event.button || $("#shade").hidden) return;
    const at = pointIn(image, event);
    const inside = event.target === frame;
    grip = inside ? { x: center.x - at.x, y: center.y - at.y } : { x: 0, y: 0 };
    if (!inside) moveFrame(at.x, at.y);
    area.setPointerCapture(event.pointerId);
    frame.focus({ preventScroll: true });
    event.preventDefault();
  });
  area.addEventListener("pointermove", (event) => {
    if (!grip) return;
    const at = pointIn(image, event);
    moveFrame(at.x + grip.x, at.y + grip.y);
  });
  for (const end of ["pointerup", "pointercancel"]) area.addEventListener(end, () => (grip = undefined));
  frame.addEventListener("keydown", (event) => {
    const step = NUDGE[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const photo = selectedPhoto();
    const { width, height } = cropOf(photo);
    const part = event.shiftKey ? 1 : 0.25;
    moveFrame(center.x + (step[0] * part * width) / photo.size[0], center.y + (step[1] * part * height) / photo.size[1]);
    say(`Preview at ${percent(center.x)} from the left, ${percent(center.y)} from the top`);
  });
}

function pointIn(image, event) {
  const box = image.getBoundingClientRect();
  return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
}

/** The picture says only that it failed; the server says why. */
async function showPhotoProblem() {
  const photo = selectedPhoto();
  if (!photo) return;
  $("#photo").hidden = true;
  $("#shade").hidden = true;
  let text = "This photo cannot be shown.";
  try {
    await ask("GET", photoPath(photo, "photo"));
  } catch (error) {
    text = error.message;
  }
  $("#photo-problem").textContent = text;
  $("#photo-problem").hidden = false;
  $("#preview-status").textContent = "";
}

function requestPreview() {
  clearTimeout(previewTimer);
  const photo = selectedPhoto();
  if (!photo || $(".preview").hidden || $("#shade").hidden || !choicesAreValid()) return;
  const json = { photo: photo.id, crop: cropOf(photo), choices: { ...choices(), format: null } };
  const key = JSON.stringify(json);
  if (key === latestPreview) return;
  shown.preview?.root.classList.add("stale");
  previewTimer = setTimeout(() => preview(photo, json, key), DELAY);
}

async function preview(photo, json, key) {
  latestPreview = key;
  const status = $("#preview-status");
  const running = allPhotos().find((each) => each.status === "running");
  status.textContent = running ? `The preview follows when ${running.name} is done.` : "Upscaling the preview…";
  const started = performance.now();
  let pair;
  try {
    pair = await ask("POST", "/api/preview", { json });
  } catch (error) {
    if (key !== latestPreview) return;
    latestPreview = "";
    status.textContent = error.message;
    return;
  }
  if (pair.superseded || key !== latestPreview) return;
  shown.preview ??= newViewer("#preview-place");
  await shown.preview.replacePictures([
    figure(pair.before.url, "Before", ""),
    figure(pair.after.url, "After", ""),
  ]);
  shown.preview.root.classList.remove("stale");
  status.textContent = `Preview of ${sizeText([json.crop.width, json.crop.height])} pixels, ${secondsText((performance.now() - started) / 1000)}`;
}
