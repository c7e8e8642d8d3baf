// What a person does: pointers (mouse, pen, fingers), wheel, keys, buttons, and what each means to a viewer.
const STARTS = 3; // CSS pixels a pointer travels before it drags
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const ACTIONS = {
  slider: (viewer) => viewer.view === "slider" || viewer.show("slider"),
  grid: (viewer) => viewer.show("grid"),
  difference: (viewer) => viewer.show("difference"),
  in: (viewer) => viewer.setZoom(viewer.zoom * 1.25),
  out: (viewer) => viewer.setZoom(viewer.zoom / 1.25),
  fit: (viewer) => viewer.fit(),
  actual: (viewer) => viewer.setZoom(1),
  pixels: (viewer) => {
    viewer.pixelated = !viewer.pixelated;
    viewer.redraw();
  },
  swap: (viewer) => viewer.choose("left", viewer.right),
  less: (viewer) => viewer.amplify(viewer.gain - 1),
  more: (viewer) => viewer.amplify(viewer.gain + 1),
  nextLeft: (viewer) => viewer.next("left"),
  nextRight: (viewer) => viewer.next("right"),
  start: (viewer) => viewer.setCut(0),
  end: (viewer) => viewer.setCut(1),
  help: (viewer) => viewer.find(".help").showModal(),
};

const KEYS = {
  "+": "in", "=": "in", "-": "out", 0: "fit", 1: "actual", d: "difference", s: "grid", p: "pixels", x: "swap",
  ",": "less", ".": "more", l: "nextLeft", r: "nextRight", Home: "start", End: "end", "?": "help",
};

function watchButtons(viewer) {
  for (const button of viewer.root.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => viewer.frame && ACTIONS[button.dataset.do](viewer));
  }
  viewer.find(".gain input").addEventListener("input", (event) => viewer.amplify(Number(event.target.value)));
  viewer.selects.forEach((select, i) => {
    select.addEventListener("change", () => viewer.choose(i ? "right" : "left", Number(select.value)));
  });
}

function watchPointers(viewer) {
  const { stage } = viewer;
  const down = new Map();
  let drag;
  const place = (event) => {
    const box = stage.getBoundingClientRect();
    return { x: (event.clientX - box.left) * viewer.ratio, y: (event.clientY - box.top) * viewer.ratio };
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button || !viewer.frame || event.target.closest("select")) return;
    const point = place(event);
    down.set(event.pointerId, point);
    stage.setPointerCapture(event.pointerId);
    drag = down.size > 1 ? undefined : begun(viewer, point, event.target.closest(".divider") !== null);
    (viewer.divider.hidden ? stage : viewer.divider).focus({ preventScroll: true });
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => {
    const old = down.get(event.pointerId);
    if (!old) return;
    const point = place(event);
    if (down.size === 2) pinch(viewer, old, point, [...down].find(([id]) => id !== event.pointerId)[1]);
    else if (drag) follow(viewer, drag, old, point);
    down.set(event.pointerId, point);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, (event) => {
      down.delete(event.pointerId);
      const [point] = down.values(); // the finger that stays after a pinch goes on alone
      drag = down.size === 1 && viewer.frame ? begun(viewer, point, false) : undefined;
    });
  }
  stage.addEventListener("dblclick", (event) => {
    if (!viewer.frame || event.target.closest("select, .divider")) return;
    viewer.setZoom(viewer.zoom === 1 ? viewer.fitting : 1, place(event));
  });
  stage.addEventListener("wheel", (event) => onWheel(viewer, event, place), { passive: false });
}

/** A drag from `point`: of the divider if that is held or nothing else can move, else of the pictures. */
function begun(viewer, point, held) {
  const seen = viewer.visible(viewer.cells()[0]);
  const grip = held ? point.x - seen.x - viewer.cut * seen.w : 0; // a held divider does not jump to the pointer
  return { from: point, grip, moves: held, divides: held || (viewer.view === "slider" && !viewer.pannable) };
}

function follow(viewer, drag, old, point) {
  drag.moves ||= Math.hypot(point.x - drag.from.x, point.y - drag.from.y) > STARTS * viewer.ratio;
  if (!drag.moves) return;
  if (drag.divides) {
    const seen = viewer.visible(viewer.cells()[0]);
    viewer.setCut((point.x - drag.grip - seen.x) / seen.w);
  } else {
    viewer.pan(old.x - point.x, old.y - point.y);
  }
}

/** One of two fingers went from `old` to `point`: what lay between them stays between them. */
function pinch(viewer, old, point, other) {
  const length = (a, b) => Math.max(1, Math.hypot(a.x - b.x, a.y - b.y));
  viewer.setZoom((viewer.zoom * length(point, other)) / length(old, other), {
    x: (old.x + other.x) / 2,
    y: (old.y + other.y) / 2,
  });
  viewer.pan((old.x - point.x) / 2, (old.y - point.y) / 2);
}

function onWheel(viewer, event, place) {
  const meant = viewer.whole || event.ctrlKey || viewer.root.contains(document.activeElement);
  if (!meant || !viewer.frame || event.target.closest("select")) return; // a longer page scrolls on
  event.preventDefault();
  const pixels = event.deltaY * [1, 16, 400][event.deltaMode];
  const rate = event.ctrlKey ? 0.01 : 0.002; // a trackpad's pinch comes as a wheel with Ctrl, in small steps
  viewer.setZoom(viewer.zoom * Math.exp(-clamp(pixels, -300, 300) * rate), place(event));
}

/** Keys go to the viewer that has the focus, or to the only one of the page. */
function watchKeys(viewers) {
  document.addEventListener("keydown", (event) => {
    const focused = viewers.find((viewer) => viewer.root.contains(document.activeElement));
    const viewer = focused ?? (document.body.classList.contains("whole") ? viewers[0] : undefined);
    if (viewer?.frame && !document.querySelector("dialog[open]") && onKey(viewer, event)) event.preventDefault();
  });
}

function onKey(viewer, event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("select")) return false;
  const arrow = ARROWS[key];
  if (target.closest("input") && (arrow || key === "Home" || key === "End")) return false;
  if (arrow) return onArrow(viewer, arrow, event);
  const numbered = event.shiftKey && !/\d/.test(key) && /^Digit([1-8])$/.exec(event.code);
  if (numbered) {
    viewer.choose("right", numbered[1] - 1);
    return true;
  }
  if ((key === "PageUp" || key === "PageDown") && target === viewer.divider) {
    viewer.setCut(viewer.cut + (key === "PageUp" ? 0.1 : -0.1));
    return true;
  }
  const action = KEYS[key.length === 1 ? key.toLowerCase() : key];
  if (action) ACTIONS[action](viewer);
  return action !== undefined;
}

function onArrow(viewer, [dx, dy], event) {
  const divides = viewer.view === "slider" && !event.shiftKey && (dx !== 0 || event.target === viewer.divider);
  const step = 60 * viewer.ratio;
  if (divides) viewer.setCut(viewer.cut + (dx - dy) * 0.02);
  else viewer.pan(dx * step, dy * step);
  return true;
}

/** Brings a section of the class "viewer" to life. */
function openViewer(root) {
  const viewer = new Viewer(root);
  viewers.push(viewer);
  watchButtons(viewer);
  watchPointers(viewer);
  return viewer;
}

/** Removes a viewer from the page. */
function closeViewer(viewer) {
  viewers.splice(viewers.indexOf(viewer), 1);
  viewer.observer.disconnect();
  viewer.root.remove();
}

const viewers = [];
for (const root of document.querySelectorAll(".viewer")) openViewer(root);
watchKeys(viewers);
