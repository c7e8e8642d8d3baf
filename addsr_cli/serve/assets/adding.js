// Photos come in: dropped, chosen or pasted, single or as folders.
const PARALLEL = 2; // uploads at a time
const waitingFiles = [];
let uploading = 0;

function watchAdding() {
  for (const button of document.querySelectorAll("[data-choose]")) {
    button.addEventListener("click", () => $(`#${button.dataset.choose}`).click());
  }
  for (const input of [$("#files"), $("#folder")]) {
    input.addEventListener("change", () => {
      addFiles([...input.files], input.id === "folder");
      input.value = "";
    });
  }
  watchDrops();
  document.addEventListener("paste", (event) => addFiles([...event.clipboardData.files], false));
}

function watchDrops() {
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  const cover = (on) => document.body.classList.toggle("dropping", on);
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    cover(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) cover(false);
  });
  document.addEventListener("drop", async (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    cover(false);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [...event.dataTransfer.files];
    if (!entries.some((entry) => entry.isDirectory)) addFiles(files, false);
    else addFiles((await Promise.all(entries.map(filesOf))).flat(), true);
  });
}

/** All files of a dropped file or folder, also in folders within it. */
async function filesOf(entry) {
  if (entry.isFile) return new Promise((done) => entry.file((file) => done([file]), () => done([])));
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const entries = await new Promise((done) => reader.readEntries(done, () => done([])));
    if (!entries.length) return found;
    for (const each of entries) found.push(...(await filesOf(each)));
  }
}

/** Queues files for upload. Of folders, files that are no pictures by their suffix are left out. */
function addFiles(files, fromFolder) {
  const suffix = (file) => (/\.[^.]+$/.exec(file.name) ?? [""])[0].toLowerCase();
  const visible = files.filter((file) => !file.name.startsWith("."));
  const pictures = fromFolder ? visible.filter((file) => page.suffixes.has(suffix(file))) : visible;
  const others = visible.length - pictures.length;
  if (others) tell(`${plural(others, "file")} left out: no ${others === 1 ? "picture" : "pictures"} that addsr reads.`);
  const small = pictures.filter((file) => file.size <= page.limits.photo_bytes);
  for (const file of pictures) {
    if (!small.includes(file)) tell(`${file.name} is larger than ${bytesText(page.limits.photo_bytes)}. Start addsr serve with a larger --max-upload.`);
  }
  if (small.length) say(`Adding ${plural(small.length, "photo")}`);
  waitingFiles.push(...small);
  page.adding += small.length;
  uploadNext();
  drawList();
}

function uploadNext() {
  while (uploading < PARALLEL && waitingFiles.length) {
    uploading += 1;
    upload(waitingFiles.shift());
  }
}

async function upload(file) {
  try {
    update(await ask("POST", `/api/photos?name=${encodeURIComponent(file.name)}`, { body: file }));
  } catch (error) {
    tell(error.message.includes(file.name) ? error.message : `${file.name}: ${error.message}`);
  }
  uploading -= 1;
  page.adding -= 1;
  uploadNext();
  drawList();
}
