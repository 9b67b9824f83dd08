// The map: every track a dot in the valence-arousal plane. Still dots are painted once, what moves
// is on a second canvas.

import { AXIS_ENDS, QUADRANTS } from "./affect.js";
import { Chart, glow, moodColour, signed, stroke, write } from "./charts.js";

const FADE_MS = 260;
const SHADES = 24; // Colours along each side of the plane: few, so that dots of one are painted together.
const MAX_ZOOM = 16;
const NEAR = { mouse: 12, touch: 24 };
const MOVED = 6; // Pixels from which a click is a drag.
const WORDS_SIZE = 12.5;
const MANY = 1500; // More dots than this are painted pixel by pixel.

/** Pixels of a dot around its middle, and how much of each it covers. */
function stampOf(size) {
  const reach = Math.ceil(size);
  const pixels = [];
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      const cover = Math.min(1, Math.max(0, size + 0.5 - Math.hypot(x, y)));
      if (cover > 0) pixels.push([x, y, cover]);
    }
  }
  return pixels;
}

export class TrackMap extends Chart {
  tool = "pick";
  ids = [];
  valence = new Float32Array();
  arousal = new Float32Array();
  shown = new Uint8Array();
  before = new Uint8Array();
  fade = 1;
  view = { valence: 0, arousal: 0, half: 1 };
  chosen = new Set(); // Places in the columns: a result, a lasso.
  route = []; // A playlist, place after place.
  focused = -1;
  hovered = -1;
  line = []; // What is drawn now, in pixels.
  drag = null;
  drawnPath = null; // A drawn path, in the plane.
  now = null; // Where the music is that plays.

  /** `handlers`: onPoint, onPick, onPlay, onDrop, onLasso, onDraw. */
  constructor(root, handlers) {
    super(root);
    Object.assign(this, handlers);
    this.places = new Map();
    root.addEventListener("pointerdown", (event) => this.press(event));
    root.addEventListener("pointermove", (event) => this.over(event));
    root.addEventListener("pointerup", (event) => this.release(event));
    root.addEventListener("pointercancel", () => this.cancel());
    root.addEventListener("keydown", (event) => this.key(event));
    root.addEventListener("blur", () => this.move());
    root.addEventListener("focus", () => this.move());
    root.addEventListener("wheel", (event) => {
      // Without Ctrl, which is also a pinch on a trackpad, the wheel moves the page.
      if (!event.ctrlKey) return;
      event.preventDefault();
      const [x, y] = this.pointOf(event);
      this.zoom(Math.exp(-event.deltaY / 200), x, y);
    }, { passive: false });
  }

  /** Take all tracks, in columns. */
  load({ id, valence, arousal }) {
    this.ids = id;
    this.valence = Float32Array.from(valence);
    this.arousal = Float32Array.from(arousal);
    this.places = new Map(id.map((one, k) => [one, k]));
    this.shown = new Uint8Array(id.length).fill(1);
    this.before = this.shown.slice();
    const shades = new Map();
    for (let k = 0; k < id.length; k++) {
      const [i, j] = [this.valence[k], this.arousal[k]].map((value) => Math.min(SHADES - 1, Math.floor(((value + 1) / 2) * SHADES)));
      const shade = i * SHADES + j;
      if (!shades.has(shade)) shades.set(shade, []);
      shades.get(shade).push(k);
    }
    this.shades = [...shades].map(([shade, dots]) => ({
      valence: ((Math.floor(shade / SHADES) + 0.5) / SHADES) * 2 - 1,
      arousal: (((shade % SHADES) + 0.5) / SHADES) * 2 - 1,
      dots,
    }));
    this.draw();
  }

  /** Show only these tracks; the others fade. */
  filter(ids) {
    const pass = new Set(ids);
    this.before = this.shown;
    this.shown = Uint8Array.from(this.ids, (id) => (pass.has(id) ? 1 : 0));
    this.fade = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1 : 0;
    const start = performance.now();
    const step = (now) => {
      this.fade = Math.min(1, Math.max(this.fade, (now - start) / FADE_MS));
      this.draw();
      if (this.fade < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  /** Mark tracks, and the order of a playlist. */
  mark(ids, route = false) {
    const places = ids.map((id) => this.places.get(id)).filter((k) => k !== undefined);
    this.chosen = new Set(places);
    this.route = route ? places : [];
    if (!route) this.drawnPath = null;
    this.move();
  }

  // ---------------------------------------------------------------- painting

  paint(context, width, height) {
    const side = Math.min(width - 40, height - 28);
    const left = Math.round((width - side + 32) / 2);
    const top = 2;
    const { view, colours } = this;
    const place = {
      left,
      top,
      side,
      x: (valence) => left + (((valence - view.valence) / view.half + 1) / 2) * side,
      y: (arousal) => top + ((1 - (arousal - view.arousal) / view.half) / 2) * side,
      valence: (x) => view.valence + (((x - left) / side) * 2 - 1) * view.half,
      arousal: (y) => view.arousal + (1 - ((y - top) / side) * 2) * view.half,
    };
    context.save();
    context.beginPath();
    context.roundRect(left, top, side, side, 14);
    context.clip();
    context.fillStyle = colours.surface;
    context.fillRect(left, top, side, side);
    context.globalAlpha = colours.dark ? 0.3 : 0.38;
    const whole = side / view.half;
    context.drawImage(glow(colours.dark, 1), place.x(-1), place.y(1), whole, whole);
    context.globalAlpha = 1;
    for (const value of [-1, -0.5, 0, 0.5, 1]) {
      const alpha = value ? 0.08 : 0.28;
      stroke(context, [[place.x(value), top], [place.x(value), top + side]], colours.ink, 1, alpha);
      stroke(context, [[left, place.y(value)], [left + side, place.y(value)]], colours.ink, 1, alpha);
    }
    this.paintDots(context, place);
    context.restore();
    this.paintNames(context, place);
    return place;
  }

  paintDots(context, place) {
    if (!this.shades) return;
    const { colours, shown, before, fade } = this;
    const crowd = Math.min(1, Math.sqrt(400 / Math.max(1, this.ids.length)));
    const size = Math.min(6, (place.side / 600) * (1.5 + 3.7 * crowd) * Math.sqrt(1 / this.view.half));
    this.size = size;
    // Dots that are shown are opaque. Otherwise their colours would add up where many lie.
    const ghost = 0.1;
    const phases = [
      [(k) => !shown[k] && !before[k], ghost],
      [(k) => !shown[k] && before[k], 1 - (1 - ghost) * fade],
      [(k) => shown[k] && !before[k], ghost + (1 - ghost) * fade],
      [(k) => shown[k] && before[k], 1],
    ];
    if (this.ids.length > MANY) {
      this.paintMany(context, place, phases);
      return;
    }
    for (const [fits, alpha] of phases) {
      context.globalAlpha = alpha;
      for (const { valence, arousal, dots } of this.shades) {
        const some = dots.filter(fits);
        if (!some.length) continue;
        context.beginPath();
        for (const k of some) {
          const [x, y] = [place.x(this.valence[k]), place.y(this.arousal[k])];
          context.moveTo(x + size, y);
          context.arc(x, y, size, 0, 2 * Math.PI);
        }
        context.fillStyle = moodColour(valence, arousal, colours.dark);
        context.fill();
        if (size < 3.4 || alpha < 0.5) continue;
        Object.assign(context, { strokeStyle: colours.surface, lineWidth: 0.75 });
        context.stroke();
      }
    }
    context.globalAlpha = 1;
  }

  /** Write the pixels of very many dots: a canvas takes ten times as long to paint the circles. */
  paintMany(context, place, phases) {
    const scale = devicePixelRatio;
    const [across, down] = [place.side, place.side].map((length) => Math.round(length * scale));
    const image = new ImageData(across, down);
    const pixels = new Uint32Array(image.data.buffer);
    const levels = image.data;
    const stamp = stampOf(this.size * scale);
    const colours = this.shadesAsPixels();
    for (const [fits, alpha] of phases) {
      this.shades.forEach(({ dots }, n) => {
        for (const k of dots) {
          if (!fits(k)) continue;
          const x = Math.round((place.x(this.valence[k]) - place.left) * scale);
          const y = Math.round((place.y(this.arousal[k]) - place.top) * scale);
          for (const [dx, dy, cover] of stamp) {
            if (x + dx < 0 || x + dx >= across || y + dy < 0 || y + dy >= down) continue;
            const at = (y + dy) * across + x + dx;
            const level = 255 * alpha * cover;
            if (level < levels[4 * at + 3]) continue;
            pixels[at] = colours[n];
            levels[4 * at + 3] = level;
          }
        }
      });
    }
    this.sheet ??= new OffscreenCanvas(1, 1);
    Object.assign(this.sheet, { width: across, height: down });
    this.sheet.getContext("2d").putImageData(image, 0, 0);
    context.drawImage(this.sheet, place.left, place.top, place.side, place.side);
  }

  /** The colour of each shade as a pixel has it. */
  shadesAsPixels() {
    const sheet = new OffscreenCanvas(this.shades.length, 1);
    const context = sheet.getContext("2d", { willReadFrequently: true });
    this.shades.forEach(({ valence, arousal }, n) => {
      context.fillStyle = moodColour(valence, arousal, this.colours.dark);
      context.fillRect(n, 0, 1, 1);
    });
    return new Uint32Array(context.getImageData(0, 0, this.shades.length, 1).data.buffer);
  }

  paintNames(context, place) {
    const { colours, view } = this;
    const { left, top, side } = place;
    const narrow = side < 340;
    for (const { signs: [sx, sy], words } of QUADRANTS) {
      // The words stay in the corners of their quadrants, as far as these are seen.
      const edge = (centre, sign) => Math.min(Math.max(sign, centre - view.half), centre + view.half);
      if (edge(view.valence, sx) * sx <= 0.05 * view.half || edge(view.arousal, sy) * sy <= 0.05 * view.half) continue;
      write(context, colours, words, place.x(edge(view.valence, sx)) - 10 * sx, place.y(edge(view.arousal, sy)) + (sy > 0 ? 20 : -11), {
        align: sx > 0 ? "right" : "left",
        size: narrow ? 11 : WORDS_SIZE,
        weight: 550,
        colour: "ink",
        halo: true,
      });
    }
    const number = (value) => signed(value, view.half < 0.5 ? 2 : 1);
    const [low, high] = [-view.half, view.half];
    write(context, colours, number(view.valence + low), left, top + side + 15, { size: 11 });
    write(context, colours, number(view.valence + high), left + side, top + side + 15, { align: "right", size: 11 });
    write(context, colours, `${AXIS_ENDS.valence[0]} \u2190 valence \u2192 ${AXIS_ENDS.valence[1]}`, left + side / 2, top + side + 15, { align: "center", size: narrow ? 10.5 : 11.5 });
    context.save();
    context.translate(left - 9, top + side / 2);
    context.rotate(-Math.PI / 2);
    write(context, colours, number(view.arousal + low), -side / 2, 0, { size: 11 });
    write(context, colours, number(view.arousal + high), side / 2, 0, { align: "right", size: 11 });
    write(context, colours, `${AXIS_ENDS.arousal[0]} \u2190 arousal \u2192 ${AXIS_ENDS.arousal[1]}`, 0, 0, { align: "center", size: narrow ? 10.5 : 11.5 });
    context.restore();
  }

  /** Paint what lies above the dots. */
  move() {
    const { above: context, place, colours } = this;
    if (!context) return;
    context.clearRect(0, 0, this.width, this.height);
    context.save();
    context.beginPath();
    context.roundRect(place.left, place.top, place.side, place.side, 14);
    context.clip();
    const point = (k) => [place.x(this.valence[k]), place.y(this.arousal[k])];
    const ring = (x, y, radius, colour, width) => {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      Object.assign(context, { strokeStyle: colour, lineWidth: width });
      context.stroke();
    };
    if (this.drawnPath) stroke(context, this.drawnPath.map(([v, a]) => [place.x(v), place.y(a)]), colours.a, 9, 0.22);
    if (this.route.length) stroke(context, this.route.map(point), colours.ink, 1.25, 0.75);
    const thin = this.chosen.size > 40;
    for (const k of this.chosen) ring(...point(k), this.size + (thin ? 1.5 : 2.5), colours.ink, thin ? 1.25 : 1.75);
    this.route.forEach((k, n) => {
      if (n && n < this.route.length - 1) return;
      const [x, y] = point(k);
      write(context, colours, n ? "end" : "start", x, y - this.size - 7, { align: "center", size: 11.5, weight: 650, colour: "ink", halo: true });
    });
    if (this.now) {
      context.fillStyle = colours.a;
      context.beginPath();
      context.arc(place.x(this.now[0]), place.y(this.now[1]), 6.5, 0, 2 * Math.PI);
      context.fill();
      ring(place.x(this.now[0]), place.y(this.now[1]), 6.5, colours.surface, 2);
    }
    if (this.hovered >= 0) ring(...point(this.hovered), this.size + 4, colours.ink, 2);
    if (this.focused >= 0 && document.activeElement === this.root) ring(...point(this.focused), this.size + 6, colours.a, 3);
    if (this.line.length > 1) {
      const closed = this.tool === "lasso" ? [...this.line, this.line[0]] : this.line;
      stroke(context, closed, colours.a, this.tool === "lasso" ? 1.75 : 5, 0.9);
    }
    if (this.drag?.to) {
      const [from, to] = [point(this.drag.k), this.drag.to];
      context.setLineDash([5, 5]);
      stroke(context, [from, to], colours.ink, 1.5);
      context.setLineDash([]);
      const [v, a] = [place.valence(to[0]), place.arousal(to[1])];
      context.fillStyle = moodColour(v, a, colours.dark);
      context.beginPath();
      context.arc(...to, 8, 0, 2 * Math.PI);
      context.fill();
      ring(...to, 8, colours.ink, 2);
    }
    context.restore();
  }

  // ---------------------------------------------------------------- pointer

  pointOf(event) {
    const box = this.root.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** Place of the nearest shown dot within a distance, or -1. */
  nearest(x, y, within) {
    let [best, least] = [-1, within * within];
    for (let k = 0; k < this.ids.length; k++) {
      if (!this.shown[k]) continue;
      const away = (this.place.x(this.valence[k]) - x) ** 2 + (this.place.y(this.arousal[k]) - y) ** 2;
      if (away < least) [best, least] = [k, away];
    }
    return best;
  }

  press(event) {
    if (event.button || !this.place) return;
    const [x, y] = this.pointOf(event);
    this.root.setPointerCapture(event.pointerId);
    this.point(-1);
    if (this.tool === "pick") {
      const k = this.nearest(x, y, NEAR[event.pointerType] ?? NEAR.mouse);
      this.drag = { k, x, y, view: { ...this.view }, moved: false };
    } else this.line = [[x, y]];
  }

  over(event) {
    if (!this.place) return;
    const [x, y] = this.pointOf(event);
    if (this.line.length) {
      const [lastX, lastY] = this.line.at(-1);
      if (Math.hypot(x - lastX, y - lastY) > 3) this.line.push([x, y]);
      this.move();
      return;
    }
    if (this.drag) {
      const { drag } = this;
      drag.moved ||= Math.hypot(x - drag.x, y - drag.y) > MOVED;
      if (drag.moved && drag.k >= 0) {
        drag.to = [x, y];
        this.say(`${signed(this.place.valence(x))}, ${signed(this.place.arousal(y))}`, x, y);
        this.move();
      } else if (drag.moved && this.view.half < 1) {
        const scale = (2 * this.view.half) / this.place.side;
        this.look(drag.view.valence - (x - drag.x) * scale, drag.view.arousal + (y - drag.y) * scale, this.view.half);
      }
      return;
    }
    this.point(this.nearest(x, y, NEAR.mouse));
  }

  release(event) {
    const { drag, line } = this;
    this.drag = null;
    this.line = [];
    if (line.length > 2) {
      const inPlane = line.map(([x, y]) => [this.place.valence(x), this.place.arousal(y)].map((value) => Math.min(1, Math.max(-1, value))));
      if (this.tool === "lasso") this.onLasso(this.inside(line));
      else this.onDraw(inPlane);
    } else if (drag?.to) this.onDrop(this.ids[drag.k], this.place.valence(drag.to[0]), this.place.arousal(drag.to[1]));
    else if (drag && !drag.moved && drag.k >= 0) {
      this.focused = drag.k;
      this.onPick(this.ids[drag.k]);
    }
    this.say("");
    this.move();
    if (event) this.over(event);
  }

  cancel() {
    this.drag = null;
    this.line = [];
    this.move();
  }

  /** Numbers of the shown tracks inside of a line (even-odd rule). */
  inside(line) {
    const found = [];
    for (let k = 0; k < this.ids.length; k++) {
      if (!this.shown[k]) continue;
      const [x, y] = [this.place.x(this.valence[k]), this.place.y(this.arousal[k])];
      let inside = false;
      for (let i = 0, j = line.length - 1; i < line.length; j = i++) {
        const [[xi, yi], [xj, yj]] = [line[i], line[j]];
        if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
      }
      if (inside) found.push(this.ids[k]);
    }
    return found;
  }

  /** The pointer is over a dot, or over none. */
  point(k) {
    if (k === null) k = -1;
    if (k === this.hovered) return;
    this.hovered = k;
    this.root.classList.toggle("near", k >= 0 && this.tool === "pick");
    this.say("");
    if (k >= 0) this.onPoint(this.ids[k]);
    this.move();
  }

  /** Show the name of a dot beside it. */
  name(id, text) {
    const k = this.places.get(id);
    if (k === this.hovered && !this.drag) this.say(text, this.place.x(this.valence[k]), this.place.y(this.arousal[k]));
  }

  // ---------------------------------------------------------------- zoom

  look(valence, arousal, half) {
    half = Math.min(1, Math.max(1 / MAX_ZOOM, half));
    const most = 1 - half;
    const within = (value) => Math.min(most, Math.max(-most, value));
    this.view = { valence: within(valence), arousal: within(arousal), half };
    this.draw();
  }

  /** Zoom by a factor; the point of the plane at a pixel stays there. */
  zoom(factor, x = this.place.left + this.place.side / 2, y = this.place.top + this.place.side / 2) {
    const [valence, arousal] = [this.place.valence(x), this.place.arousal(y)];
    const half = Math.min(1, Math.max(1 / MAX_ZOOM, this.view.half / factor));
    const share = half / this.view.half;
    this.look(valence + (this.view.valence - valence) * share, arousal + (this.view.arousal - arousal) * share, half);
  }

  // ---------------------------------------------------------------- keyboard

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const arrow = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    const id = this.ids[this.focused];
    if (arrow) this.step(arrow);
    else if (event.key === "Enter" && id !== undefined) this.onPick(id);
    else if (event.key === " " && id !== undefined) this.onPlay(id);
    else if (event.key === "+") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.look(0, 0, 1);
    else if (event.key === "Escape") this.cancel();
    else return;
    event.preventDefault();
  }

  /** Go to the nearest dot in a direction; at first, to the one in the middle. */
  step([right, up]) {
    if (this.focused < 0 || !this.shown[this.focused]) {
      this.focused = this.nearest(this.place.left + this.place.side / 2, this.place.top + this.place.side / 2, Infinity);
    } else {
      const [v, a] = [this.valence[this.focused], this.arousal[this.focused]];
      let [best, least] = [-1, Infinity];
      for (let k = 0; k < this.ids.length; k++) {
        if (!this.shown[k] || k === this.focused) continue;
        const [dv, da] = [this.valence[k] - v, this.arousal[k] - a];
        const along = dv * right + da * up;
        if (along <= 1e-6) continue;
        // What lies aside counts more, so that a row of steps keeps its direction.
        const cost = along + 2.5 * Math.abs(dv * up - da * right);
        if (cost < least) [best, least] = [k, cost];
      }
      if (best >= 0) this.focused = best;
    }
    const k = this.focused;
    if (k < 0) return;
    const { valence, arousal, half } = this.view;
    if (Math.abs(this.valence[k] - valence) > half || Math.abs(this.arousal[k] - arousal) > half) this.look(this.valence[k], this.arousal[k], half);
    this.onPoint(this.ids[k], true);
    this.move();
  }
}
