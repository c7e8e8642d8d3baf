// The stage: a preview of the selected photo, or its result.
const shown = { preview: undefined, result: undefined, key: "" };

/** An empty viewer in a place of the page. */
function newViewer(place) {
  const root = $("#viewer").content.firstElementChild.cloneNode(true);
  const heading = $("[autofocus]", root); // of the help, which is not open yet
  heading.removeAttribute("autofocus");
  $(place).append(root);
  heading.setAttribute("autofocus", "");
  const viewer = openViewer(root);
  viewer.whole = innerWidth >= 900; // there the wheel zooms at once, as nothing scrolls
  return viewer;
}

function figure(url, label, size) {
  return element(
    "figure", {}, element("img", { src: url, alt: label }),
    element("figcaption", {}, element("span", { className: "label", textContent: label }), " ",
      element("span", { className: "size", textContent: size })),
  );
}

function select(id) {
  if (page.selected !== id) {
    page.selected = id;
    const photo = selectedPhoto();
    drawList();
    if (!photo) return;
    openPhoto(photo);
    showView(photo.output ? "result" : "preview");
  }
  drawChoices();
}

function showView(view) {
  const photo = selectedPhoto();
  const hasResult = Boolean(photo?.output);
  const shownView = view === "result" && hasResult ? "result" : "preview";
  for (const button of document.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", button.dataset.view === shownView);
    if (button.dataset.view === "result") button.disabled = !hasResult;
  }
  $(".preview").hidden = shownView !== "preview";
  $(".result").hidden = shownView !== "result";
  $("#selected-name").textContent = photo?.name ?? "";
  if (shownView === "result") showResult(photo);
  else if (photo) requestPreview();
}

async function showResult(photo) {
  const { output } = photo;
  const key = `${photo.id}/${photo.results}`;
  $("#result-facts").textContent = resultFacts(output);
  if (shown.key === key) return;
  shown.key = key;
  shown.result ??= newViewer("#result-place");
  shown.result.fitted = true;
  const map = `${photoPath(photo, "trust")}?v=${photo.results}`;
  const invented = figure(map, "Invented (orange), drift (blue)", "");
  await shown.result.replacePictures([
    figure(photoPath(photo, "before"), "Before", sizeText(photo.size)),
    ...(output.invented === null ? [] : [invented]),
    figure(`${photoPath(photo, "after")}?v=${photo.results}`, "After", sizeText(output.size)),
  ]);
}

function resultFacts(output) {
  const steps = output.steps ? `, ${plural(output.steps, "step")}` : "";
  const how = output.model ? `${output.model}${steps}` : "resized";
  const invented = output.invented === null ? "" : `, ${output.invented} % invented detail`;
  const where = output.saved ? ", saved in the output folder" : "";
  const facts = `${output.name}: ${sizeText(output.size)}, ${bytesText(output.bytes)}, ${how}, ${secondsText(output.seconds)}${invented}${where}.`;
  return [facts, ...output.warnings.map((warning) => `Note: ${warning}.`)].join(" ");
}

function watchStage() {
  for (const button of document.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => showView(button.dataset.view));
  }
}
