// The list of photos: what each of them is and does.
const rows = new Map(); // list items by the id of their photo

function drawList() {
  const photos = allPhotos();
  document.body.classList.toggle("empty", !photos.length && !page.adding);
  for (const [id, row] of rows) {
    if (page.photos.has(id)) continue;
    row.remove();
    rows.delete(id);
  }
  const list = $("#list");
  for (const photo of photos) drawRow(photo, list);
  $("#adding-row")?.remove();
  if (page.adding) list.append(element("li", { id: "adding-row", className: "hint", textContent: `Adding ${plural(page.adding, "photo")}…` }));
  drawActions();
}

function drawRow(photo, list) {
  let row = rows.get(photo.id);
  if (!row) {
    row = newRow(photo);
    rows.set(photo.id, row);
    list.append(row);
  }
  row.dataset.status = photo.status;
  row.classList.toggle("selected", photo.id === page.selected);
  $(".pick", row).setAttribute("aria-current", photo.id === page.selected);
  $(".what", row).textContent = statusText(photo);
  const bar = $("progress", row);
  bar.hidden = photo.status !== "running";
  bar.value = shareDone(photo);
  const saves = photo.output && !isActive(photo);
  $(".save", row).hidden = !saves;
  if (saves) $(".save", row).href = photoPath(photo, "result");
  $(".cancel", row).hidden = !isActive(photo);
  $(".cancel", row).disabled = photo.stopping;
  $(".remove", row).hidden = isActive(photo);
}

function newRow(photo) {
  const button = (className, text, label, act) => {
    const node = element("button", { type: "button", className, textContent: text, "aria-label": `${label} ${photo.name}` });
    node.title = label;
    node.addEventListener("click", act);
    return node;
  };
  const thumb = element("img", { src: photoPath(photo, "thumb"), alt: "", loading: "lazy", draggable: false });
  thumb.addEventListener("error", () => thumb.classList.add("broken"));
  const name = element("span", { className: "name", textContent: photo.name, title: photo.name });
  const what = element("span", { className: "what" });
  const bar = element("progress", { max: 1, hidden: true });
  bar.setAttribute("aria-label", `Progress of ${photo.name}`);
  const pick = element("button", { type: "button", className: "pick" }, thumb, element("span", { className: "text" }, name, what, bar));
  pick.addEventListener("click", () => select(photo.id));
  const save = element("a", { className: "button save", textContent: "Save", download: "" });
  save.setAttribute("aria-label", `Save the result of ${photo.name}`);
  return element(
    "li", {}, pick, save,
    button("cancel", "Cancel", "Cancel", () => attempt("POST", "/api/cancel", { json: { photos: [photo.id] } })),
    button("remove", "×", "Remove", () => remove(photo.id)),
  );
}

function statusText(photo) {
  const left = photo.seconds_left === null ? "" : `, ${secondsText(photo.seconds_left)} left`;
  switch (photo.status) {
    case "waiting": return "Waiting";
    case "running":
      if (photo.stopping) return "Stopping…";
      return photo.total ? `${percent(shareDone(photo))}${left}` : "Starting…";
    case "done": return `✓ ${sizeText(photo.output.size)}, ${bytesText(photo.output.bytes)}`;
    case "failed": return [photo.error.message, photo.error.hint].filter(Boolean).join(" ");
    case "cancelled": return "Cancelled";
    default: return `${sizeText(photo.size)}, ${bytesText(photo.bytes)}`;
  }
}

/** Removes a photo; the focus goes on to its neighbour, so that a keyboard is not lost. */
async function remove(id) {
  const row = rows.get(id);
  const neighbour = row.nextElementSibling ?? row.previousElementSibling;
  const had = row.contains(document.activeElement);
  if ((await attempt("DELETE", photoPath({ id }))) === undefined) forget(id);
  if (had) ($(".pick", neighbour ?? document.createElement("li")) ?? $(".adding button")).focus();
}

function drawActions() {
  const photos = photosToStart();
  const again = photos.length === 1 && photos[0].status === "done";
  const start = $("#start");
  start.disabled = !photos.length || !choicesAreValid();
  start.textContent = again ? "Upscale again" : photos.length ? `Upscale ${plural(photos.length, "photo")}` : "Upscale";
  const results = allPhotos().filter((photo) => photo.output);
  $("#save-all").hidden = results.length < 2;
  $("#save-all").textContent = `Save all ${results.length} (ZIP)`;
  drawQueue();
}

function drawQueue() {
  const { active, seconds_left: left } = page.queue;
  page.batch = active ? Math.max(page.batch, active) : 0;
  $(".queue").hidden = !active;
  const running = allPhotos().reduce((sum, photo) => sum + shareDone(photo), 0);
  const share = page.batch ? (page.batch - active + running) / page.batch : 0;
  $("#progress").value = share;
  const time = left === null ? "" : `, about ${secondsText(left)} left`;
  $("#queue-text").textContent = active ? `${plural(active, "photo")} to go${time}` : "";
  document.title = active ? `${percent(share)} – addsr` : "addsr";
}
