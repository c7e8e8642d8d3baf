// What a viewer's state looks like: on the canvas (`paint`), and in words and controls (`describe`).
const CHECK = 8; // side of a checkerboard square under transparency, in CSS pixels
const MIDDLE_GREY = "#808080"; // what differences see under transparency

function paint(viewer) {
  const { canvas, context } = viewer;
  context.clearRect(0, 0, canvas.width, canvas.height);
  const cells = viewer.cells();
  if (viewer.view === "grid") {
    cells.forEach((cell, i) => paintLayer(viewer, context, viewer.layers[i], cell, viewer.visible(cell)));
  } else if (viewer.view === "difference") {
    paintDifference(viewer, cells[0]);
  } else {
    const seen = viewer.visible(cells[0]);
    const cut = Math.round(viewer.cut * seen.w);
    const { left, right, layers } = viewer;
    paintLayer(viewer, context, layers[left], cells[0], { ...seen, w: cut });
    paintLayer(viewer, context, layers[right], cells[0], { ...seen, x: seen.x + cut, w: seen.w - cut });
  }
}

/** Draws the part of a layer inside `clip`, and under it `ground` or a checkerboard. */
function paintLayer(viewer, context, layer, cell, clip, ground = checkerboard(viewer, context)) {
  if (clip.w <= 0 || clip.h <= 0) return;
  const frame = viewer.placed(cell);
  const source = layer.at(Math.max(frame.w / layer.width, frame.h / layer.height));
  const kx = frame.w / source.width;
  const ky = frame.h / source.height;
  const left = clamp(Math.floor((clip.x - frame.x) / kx) - SMOOTHING_MARGIN, 0, source.width - 1);
  const top = clamp(Math.floor((clip.y - frame.y) / ky) - SMOOTHING_MARGIN, 0, source.height - 1);
  const w = Math.min(source.width, Math.ceil((clip.x + clip.w - frame.x) / kx) + SMOOTHING_MARGIN) - left;
  const h = Math.min(source.height, Math.ceil((clip.y + clip.h - frame.y) / ky) + SMOOTHING_MARGIN) - top;
  context.save();
  context.beginPath();
  context.rect(clip.x, clip.y, clip.w, clip.h);
  context.clip();
  context.fillStyle = ground;
  context.fillRect(clip.x, clip.y, clip.w, clip.h);
  context.imageSmoothingEnabled = !viewer.pixelated || kx < 1;
  context.imageSmoothingQuality = "high";
  context.drawImage(source.pixels, left, top, w, h, frame.x + left * kx, frame.y + top * ky, w * kx, h * ky);
  context.restore();
}

/** |left - right|, doubled `gain` times, on the canvas. */
function paintDifference(viewer, cell) {
  const { canvas, context, layers } = viewer;
  const seen = viewer.visible(cell);
  viewer.spare ??= emptyCanvas(1, 1);
  Object.assign(viewer.spare.pixels, { width: canvas.width, height: canvas.height });
  paintLayer(viewer, viewer.spare.context, layers[viewer.right], cell, seen, MIDDLE_GREY);
  paintLayer(viewer, context, layers[viewer.left], cell, seen, MIDDLE_GREY);
  context.globalCompositeOperation = "difference";
  context.drawImage(viewer.spare.pixels, 0, 0);
  context.globalCompositeOperation = "lighter";
  for (let i = 0; i < viewer.gain; i += 1) context.drawImage(canvas, 0, 0);
  context.globalCompositeOperation = "source-over";
}

function checkerboard(viewer, context) {
  const side = Math.max(1, Math.round(CHECK * viewer.ratio));
  if (viewer.checks?.side !== side) {
    const tile = emptyCanvas(2 * side, 2 * side);
    tile.context.fillStyle = "#fff";
    tile.context.fillRect(0, 0, 2 * side, 2 * side);
    tile.context.fillStyle = "#ccc";
    tile.context.fillRect(0, 0, side, side);
    tile.context.fillRect(side, side, side, side);
    viewer.checks = { side, pattern: context.createPattern(tile.pixels, "repeat") };
  }
  return viewer.checks.pattern;
}

/** Brings every control, label and spoken text in line with the state. */
function describe(viewer) {
  const { view, layers, left, right } = viewer;
  const names = { left: layers[left].label, right: layers[right].label };
  describeDivider(viewer, names);
  viewer.selects[0].value = left;
  viewer.selects[1].value = right;
  for (const side of viewer.root.querySelectorAll(".side")) side.hidden = view === "grid";
  describeGrid(viewer);
  viewer.canvas.setAttribute("aria-label", {
    slider: `${names.left} left of the divider, ${names.right} right of it`,
    grid: `Side by side: ${layers.map((layer) => layer.label).join(", ")}`,
    difference: `Difference between ${names.left} and ${names.right}`,
  }[view]);
  viewer.find("[data-do=swap]").disabled = view === "grid";
  viewer.find(".gain").hidden = view !== "difference";
  viewer.find(".gain input").value = viewer.gain;
  viewer.find(".gain output").value = `×${2 ** viewer.gain}`;
  viewer.find(".zoom").value = percent(viewer.zoom);
  const pressed = { slider: false, grid: false, difference: false, [view]: true, pixels: viewer.pixelated };
  for (const [name, on] of Object.entries(pressed)) viewer.find(`[data-do=${name}]`).setAttribute("aria-pressed", on);
  // In the middle of a longer page a picture that cannot be moved lets a finger scroll past it.
  viewer.stage.style.touchAction = viewer.whole || viewer.pannable ? "none" : "pan-y";
  viewer.stage.classList.toggle("pannable", viewer.pannable);
}

function describeDivider(viewer, names) {
  const { divider, ratio } = viewer;
  const seen = viewer.visible(viewer.cells()[0]);
  divider.hidden = viewer.view !== "slider";
  divider.style.left = `${(seen.x + Math.round(viewer.cut * seen.w)) / ratio}px`;
  divider.style.top = `${seen.y / ratio}px`;
  divider.style.height = `${seen.h / ratio}px`;
  divider.setAttribute("aria-valuenow", Math.round(viewer.cut * 100));
  divider.setAttribute("aria-valuetext", `${percent(viewer.cut)} ${names.left}, the rest ${names.right}`);
}

function describeGrid(viewer) {
  const list = viewer.find(".names");
  list.hidden = viewer.view !== "grid";
  if (list.hidden) return;
  viewer.cells().forEach((cell, i) => {
    const { x, y, w } = viewer.visible(cell);
    const style = { left: x / viewer.ratio, top: y / viewer.ratio, maxWidth: w / viewer.ratio };
    for (const [name, value] of Object.entries(style)) list.children[i].style[name] = `${value}px`;
  });
}
