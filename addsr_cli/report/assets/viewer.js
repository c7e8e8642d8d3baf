// One viewer: pictures of one scene in one frame, drawn on a canvas whose pixels are those of the screen.
// The frame is the size of the largest picture; smaller ones are stretched over it. Lengths on the canvas are in
// device pixels, `zoom` is device pixels per pixel of the frame, `center` is the point of the frame in mid-cell.
"use strict";

const MAX_ZOOM = 64;
const CANVAS_AREA = 2 ** 24; // what every phone grants a canvas
const SMOOTHING_MARGIN = 4; // pixels around what is visible that smoothing may reach for

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
const percent = (share) => `${Math.round(share * 100)} %`;

/** An embedded picture, and ever smaller copies, because few browsers shrink well on a canvas. */
class Layer {
  constructor(figure) {
    this.image = figure.querySelector("img");
    this.label = figure.querySelector(".label").textContent;
    this.size = figure.querySelector(".size").textContent;
  }

  async load() {
    await this.image.decode();
    this.width = this.image.naturalWidth;
    this.height = this.image.naturalHeight;
    this.copies = [{ pixels: this.image, width: this.width, height: this.height }];
  }

  /** The copy from which to draw at `scale` device pixels per own pixel: no smaller than half of what is needed. */
  at(scale) {
    let level = 0;
    while (scale <= 0.5 && this.halved(level)) {
      level += 1;
      scale *= 2;
    }
    return this.copies[level];
  }

  halved(level) {
    const from = this.copies[level];
    const width = Math.ceil(from.width / 2);
    const height = Math.ceil(from.height / 2);
    if (!this.copies[level + 1] && width * height <= CANVAS_AREA && from.width > 1 && from.height > 1) {
      const { pixels, context } = emptyCanvas(width, height);
      context.drawImage(from.pixels, 0, 0, width, height); // exactly half and bilinear: means of 2x2
      this.copies.push({ pixels, width, height });
    }
    return level + 1 < this.copies.length;
  }
}

/** An empty canvas, in the wide colours of the screen where it has them. */
function emptyCanvas(width, height, pixels = document.createElement("canvas")) {
  pixels.width = width;
  pixels.height = height;
  const colorSpace = matchMedia("(color-gamut: p3)").matches ? "display-p3" : "srgb";
  return { pixels, context: pixels.getContext("2d", { colorSpace }) };
}

class Viewer {
  constructor(root) {
    this.root = root;
    this.stage = this.find(".stage");
    this.divider = this.find(".divider");
    this.whole = document.body.classList.contains("whole");
    Object.assign(this, { view: "slider", cut: 0.5, gain: 2, pixelated: false, zoom: 1, fitted: true });
    this.center = { x: 0, y: 0 };
    this.canvas = this.find("canvas");
    this.context = emptyCanvas(1, 1, this.canvas).context;
    this.selects = [this.find(".left select"), this.find(".right select")];
    this.setLayers([...root.querySelectorAll("figure")].map((figure) => new Layer(figure)));
    root.classList.add("ready");
    this.watchSize();
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  /** Shows the first layer on the left and the last one on the right. */
  setLayers(layers) {
    this.layers = layers;
    this.left = 0;
    this.right = layers.length - 1;
    for (const select of this.selects) {
      select.replaceChildren(...layers.map((layer, i) => new Option(this.titled(layer), i)));
    }
    this.find(".names").replaceChildren(...layers.map((layer) => this.name(layer)));
  }

  /** Replaces all pictures once the new ones are decoded; view, divider and, if possible, zoom stay. */
  async replacePictures(figures) {
    const layers = figures.map((figure) => new Layer(figure));
    const loading = this.load(layers);
    this.loading = loading;
    if (!(await loading) || this.loading !== loading) return;
    this.find(".pictures").replaceChildren(...figures);
    this.setLayers(layers);
    if (!this.canvas.width || !this.stage.clientWidth) return;
    if (this.fitted) this.fit();
    else this.setZoom(this.zoom);
  }

  titled(layer) {
    return layer.size ? `${layer.label} · ${layer.size}` : layer.label;
  }

  name(layer) {
    const item = document.createElement("li");
    item.textContent = this.titled(layer);
    return item;
  }

  /** Decodes when first seen, since a page may hold many viewers that are closed. */
  watchSize() {
    this.observer = new ResizeObserver(([entry]) => {
      const box = entry.devicePixelContentBoxSize?.[0]; // exact, but an emulated screen does not reach it
      const exact = (reported, length) => (Math.abs(reported - length) < 1.5 ? reported : Math.round(length));
      const width = exact(box?.inlineSize, entry.contentRect.width * devicePixelRatio);
      const height = exact(box?.blockSize, entry.contentRect.height * devicePixelRatio);
      if (width && height) this.resize(width, height);
    });
    try {
      this.observer.observe(this.stage, { box: "device-pixel-content-box" });
    } catch {
      this.observer.observe(this.stage); // a browser that does not know such boxes
    }
  }

  async resize(width, height) {
    Object.assign(this.canvas, { width, height });
    if (!this.loading) this.loading = this.load(this.layers);
    await this.loading;
    if (!this.frame) return;
    if (this.fitted) this.fit();
    else this.setZoom(this.zoom);
  }

  /** Decodes pictures and makes the largest the frame; false, with a message, if one cannot be decoded. */
  async load(layers) {
    const problem = this.find(".problem");
    try {
      await Promise.all(layers.map((layer) => layer.load()));
    } catch {
      problem.textContent = "A picture of this page cannot be shown: it is damaged or larger than this browser takes.";
      problem.hidden = false;
      return false;
    }
    problem.hidden = true;
    this.frame = layers.reduce((a, b) => (b.width * b.height > a.width * a.height ? b : a), layers[0]);
    return true;
  }

  /** Device pixels per CSS pixel, browser zoom included. */
  get ratio() {
    return this.canvas.width / this.stage.clientWidth;
  }

  /** Where pictures go: the whole stage, or side by side one each, in the columns that show them largest. */
  cells() {
    const { width, height } = this.canvas;
    const count = this.view === "grid" ? this.layers.length : 1;
    const gap = count > 1 ? Math.round(2 * this.ratio) : 0;
    const fits = (columns) => {
      const rows = Math.ceil(count / columns);
      return Math.min((width / columns - gap) / this.frame.width, (height / rows - gap) / this.frame.height);
    };
    const choices = Array.from({ length: count }, (_, i) => i + 1);
    const columns = choices.reduce((best, each) => (fits(each) > fits(best) ? each : best));
    const w = Math.floor((width - gap * (columns - 1)) / columns);
    const rows = Math.ceil(count / columns);
    const h = Math.floor((height - gap * (rows - 1)) / rows);
    return choices.map((_, i) => ({ x: (i % columns) * (w + gap), y: Math.floor(i / columns) * (h + gap), w, h }));
  }

  get fitting() {
    const [{ w, h }] = this.cells();
    return Math.min(w / this.frame.width, h / this.frame.height);
  }

  get pannable() {
    const [{ w, h }] = this.cells();
    return this.frame.width * this.zoom > w + 1 || this.frame.height * this.zoom > h + 1;
  }

  fit() {
    this.setZoom(this.fitting);
  }

  /** Zooms about a point of the canvas, or about the middle. */
  setZoom(zoom, point) {
    const { fitting } = this;
    const cell = this.cellAt(point);
    const at = point ?? { x: cell.x + cell.w / 2, y: cell.y + cell.h / 2 };
    const away = { x: at.x - cell.x - cell.w / 2, y: at.y - cell.y - cell.h / 2 };
    const before = this.zoom;
    this.zoom = clamp(zoom, Math.min(fitting, 1), Math.max(fitting, MAX_ZOOM));
    this.fitted = this.zoom === fitting;
    this.pan(away.x * (this.zoom / before - 1), away.y * (this.zoom / before - 1));
  }

  cellAt(point) {
    const cells = this.cells();
    const inside = (c) => point.x >= c.x && point.x < c.x + c.w && point.y >= c.y && point.y < c.y + c.h;
    return (point && cells.find(inside)) ?? cells[0];
  }

  /** Moves the window over the frame by device pixels; the frame never leaves a cell that it can fill. */
  pan(dx, dy) {
    const [{ w, h }] = this.cells();
    const held = (center, length, cell) => {
      const half = cell / 2 / this.zoom;
      return length <= 2 * half ? length / 2 : clamp(center, half, length - half);
    };
    this.center.x = held(this.center.x + dx / this.zoom, this.frame.width, w);
    this.center.y = held(this.center.y + dy / this.zoom, this.frame.height, h);
    this.redraw();
  }

  /** The frame on the canvas; its corner lies on a whole pixel, so that at 100 % every pixel does. */
  placed(cell) {
    const x = Math.round(cell.x + cell.w / 2 - this.center.x * this.zoom);
    const y = Math.round(cell.y + cell.h / 2 - this.center.y * this.zoom);
    return { x, y, w: this.frame.width * this.zoom, h: this.frame.height * this.zoom };
  }

  /** What of the frame can be seen in a cell. */
  visible(cell) {
    const frame = this.placed(cell);
    const x = Math.max(cell.x, frame.x);
    const y = Math.max(cell.y, frame.y);
    const right = Math.min(cell.x + cell.w, Math.round(frame.x + frame.w));
    const bottom = Math.min(cell.y + cell.h, Math.round(frame.y + frame.h));
    return { x, y, w: Math.max(0, right - x), h: Math.max(0, bottom - y) };
  }

  setCut(cut) {
    this.cut = clamp(cut, 0, 1);
    this.redraw();
  }

  /** Puts a picture on a side; the one that is there already on the other side changes places. */
  choose(side, index) {
    if (!(index in this.layers)) return;
    const other = side === "left" ? "right" : "left";
    if (this[other] === index) this[other] = this[side];
    this[side] = index;
    this.redraw();
  }

  next(side) {
    const count = this.layers.length;
    const other = this[side === "left" ? "right" : "left"];
    const step = count > 2 && (this[side] + 1) % count === other ? 2 : 1;
    this.choose(side, (this[side] + step) % count);
  }

  show(view) {
    this.view = this.view === view ? "slider" : view;
    if (!this.frame) return;
    if (this.fitted) this.fit();
    else this.setZoom(this.zoom);
  }

  amplify(gain) {
    this.gain = clamp(gain, 0, 6);
    this.redraw();
  }

  redraw() {
    if (!this.frame) return;
    this.pending ??= requestAnimationFrame(() => {
      this.pending = undefined;
      if (!this.stage.clientWidth) return; // hidden; its size changes when it is shown
      paint(this);
      describe(this);
    });
  }
}
