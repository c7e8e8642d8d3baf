// Model, size, fidelity and file type.
const FIDELITY_WORDS = [
  [0.01, "Invents the most detail."], [0.49, "Invents more detail than the default."], [0.51, "The default."],
  [0.99, "Stays closer to the photo: fewer steps, softer."], [1, "Stays closest to the photo: one step, softest."],
];

const ONE_PASS_WORDS = [[0.5, "Has no effect on this model up to the middle."], [1, "Blends in a plain enlargement of the photo."]];

function fillModels(models, chosen) {
  page.models = models;
  const select = $("#model");
  if (select.options.length !== models.length) {
    select.replaceChildren(...models.map((model) => new Option(model.name, model.name)));
    select.value = chosen;
  }
}

function scaleChosen() {
  return $("#scales input:checked").value;
}

/** The choices as the server takes them. */
function choices() {
  const scale = scaleChosen();
  const size = scale === "longest" ? { longest: Number($("#longest").value) } : { scale: Number(scale) };
  const prompt = $("#prompt").value.trim();
  const reads = modelNamed($("#model").value)?.reads_text;
  return {
    model: $("#model").value,
    ...size,
    fidelity: Number($("#fidelity").value),
    format: $("#format").value || null,
    prompt: reads && prompt ? prompt : null,
  };
}

const choicesAreValid = () => scaleChosen() !== "longest" || $("#longest").validity.valid;

/** How many times larger a photo becomes. */
function factorFor(photo) {
  const { scale, longest } = choices();
  return scale ?? longest / Math.max(...photo.size);
}

function drawChoices() {
  const model = modelNamed($("#model").value);
  const how = model?.one_pass ? "one pass" : plural(model?.steps ?? 0, "step");
  $("#model-hint").textContent = model ? `${model.title}, ${how}` : "";
  $("#prompt-field").hidden = !model?.reads_text;
  $(".longest").hidden = scaleChosen() !== "longest";
  const fidelity = Number($("#fidelity").value);
  const words = (model?.one_pass ? ONE_PASS_WORDS : FIDELITY_WORDS).find(([limit]) => fidelity <= limit)[1];
  $("#fidelity-hint").textContent = words;
  $("#fidelity").setAttribute("aria-valuetext", `${percent(fidelity)}. ${words}`);
  $("#size-hint").textContent = sizeHint();
  drawActions();
}

function sizeHint() {
  const photo = selectedPhoto();
  if (!choicesAreValid()) return "Give a whole number of pixels from 16 to 60000.";
  if (!photo) return scaleChosen() === "1" ? "Restores the photo without enlarging it." : "";
  const factor = factorFor(photo);
  const result = photo.size.map((side) => Math.max(1, Math.round(side * factor)));
  if (factor < 1) return `${sizeText(result)} pixels: smaller than the photo, so it is only resized.`;
  return `${sizeText(photo.size)} → ${sizeText(result)} pixels`;
}

function watchChoices() {
  $("#choices").addEventListener("submit", (event) => event.preventDefault());
  $("#choices").addEventListener("input", () => {
    drawChoices();
    drawFrame();
    requestPreview();
  });
}
