// The two charts. The still parts are painted once; the moving parts are on a second canvas.
// The same painters draw the picture to download.

import { AXIS_ENDS, QUADRANTS, feeling } from "./affect.js";
import { BANDS, RANGE_DB, frequencyAt, heightOf } from "./spectrogram.js";

const TIME_STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600];
const FREQUENCIES_HZ = [200, 1000, 4000];
const TRAIL_SECONDS = 12;
const NEAR_PIXELS = 28;
const RANGES = [0.25, 0.5, 1];

export const clock = (seconds, digits = 0) => {
  const unit = 10 ** digits;
  const rounded = Math.round(seconds * unit) / unit;
  const rest = (rounded % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return `${Math.floor(rounded / 60)}:${rest}`;
};

export const signed = (value, digits = 2) => {
  const text = Math.abs(value).toFixed(digits);
  if (!Number(text)) return text;
  return value < 0 ? `\u2212${text}` : `+${text}`;
};

const pitch = (hz) => (hz < 1000 ? `${Math.round(hz)} Hz` : `${+(hz / 1000).toFixed(1)} kHz`);

/** Value of a curve at a time, between the two nearest of its points. */
export function at(times, values, time) {
  const last = times.length - 1;
  const position = Math.min(Math.max((time - times[0]) / (times[1] - times[0] || 1), 0), last);
  const before = Math.floor(position);
  const after = Math.min(before + 1, last);
  return values[before] + (position - before) * (values[after] - values[before]);
}

/** Half of the visible scale: the smallest of a few that fits every value. */
export function rangeOf(tracks) {
  let most = 0;
  for (const { curve } of tracks) {
    for (const [name, values] of Object.entries(curve)) {
      if (Array.isArray(values) && /^(valence|arousal)/.test(name)) for (const value of values) most = Math.max(most, Math.abs(value));
    }
  }
  return RANGES.find((range) => most <= range) ?? 1;
}

const ticks = (range) => [`+${range}`, `\u2212${range}`];

/** Whether a track ends before a time. A file may be up to one frame longer than its curve. */
export const isOver = ({ curve }, time) => time > curve.times_s.at(-1) + 0.5;

// ------------------------------------------------------------------ colours

const HUES = [85, 25, -95, -200, -275]; // At the middles of Q1 to Q4, and Q1 again.

/** Colour of a point in the plane: its hue from the angle, its strength from the distance to 0. */
export function moodColour(valence, arousal, dark) {
  const turn = (Math.atan2(arousal, valence) / (Math.PI / 2) + 3.5) % 4; // 0 in the middle of Q1
  const before = Math.floor(turn);
  const hue = HUES[before] + (turn - before) * (HUES[before + 1] - HUES[before]);
  const chroma = 0.17 * Math.min(1, Math.hypot(valence, arousal) / 0.45);
  return `oklch(${dark ? 0.7 : 0.74} ${chroma.toFixed(3)} ${((hue + 360) % 360).toFixed(1)})`;
}

const RAMPS = {
  dark: [[23, 22, 35], [52, 34, 94], [112, 44, 130], [184, 58, 120], [240, 108, 92], [253, 176, 100], [254, 240, 196]],
  light: [[255, 255, 255], [232, 228, 250], [190, 176, 240], [138, 112, 218], [92, 62, 176], [54, 30, 118], [24, 10, 58]],
};

/** 256 colours from quiet to loud, as red, green, blue. */
const ramps = Object.fromEntries(
  Object.entries(RAMPS).map(([theme, stops]) => {
    const colours = new Uint8ClampedArray(256 * 3);
    for (let i = 0; i < 256; i++) {
      const place = (i / 255) * (stops.length - 1);
      const before = Math.min(Math.floor(place), stops.length - 2);
      for (let c = 0; c < 3; c++) {
        colours[3 * i + c] = stops[before][c] + (place - before) * (stops[before + 1][c] - stops[before][c]);
      }
    }
    return [theme, colours];
  }),
);

/** The style sheet's colours as they are now. */
export function palette() {
  const probe = document.body.appendChild(document.createElement("i"));
  const colours = {};
  for (const name of ["ink", "quiet", "line", "grid", "surface", "page", "a", "b"]) {
    probe.style.color = `var(--${name})`;
    colours[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  const theme = document.documentElement.dataset.theme;
  colours.dark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  colours.font = getComputedStyle(document.body).fontFamily;
  return colours;
}

const veil = (colour, alpha) => colour.replace("rgb(", "rgba(").replace(")", `, ${alpha})`);

// ------------------------------------------------------------------ painters

export function write(context, colours, text, x, y, { align = "left", size = 12, weight = 400, colour = "quiet", halo = false } = {}) {
  context.font = `${weight} ${size}px ${colours.font}`;
  context.fillStyle = colours[colour];
  context.textAlign = align;
  context.textBaseline = "alphabetic";
  if (halo) {
    // A curve behind the text must not cross it out.
    Object.assign(context, { strokeStyle: colours.surface, lineWidth: 4, lineJoin: "round" });
    context.strokeText(text, x, y);
  }
  context.fillText(text, x, y);
}

export function stroke(context, points, colour, width, alpha = 1) {
  context.save();
  Object.assign(context, { strokeStyle: colour, lineWidth: width, globalAlpha: alpha, lineJoin: "round", lineCap: "round" });
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
  context.stroke();
  context.restore();
}

/** Points of a curve between two times; the first value describes the audio from 0 s on. */
function pointsOf({ times_s: times }, values, start, end, x, y) {
  const step = times[1] - times[0] || 1;
  const first = Math.max(0, Math.floor((start - times[0]) / step));
  const points = first === 0 ? [[x(0), y(values[0])]] : [];
  for (let i = first; i < times.length && times[i] <= end + step; i++) points.push([x(times[i]), y(values[i])]);
  return points;
}

/** Paint curves, mood and spectrograms on one time axis. Returns their positions. */
export function paintTime(context, width, height, { tracks, start, end, range, colours }) {
  const [left, right, top] = [50, width - 12, 6];
  const count = Math.max(1, tracks.length);
  const ribbon = 9;
  const bottom = height - 38;
  const room = bottom - top - 2 * 14 - count * (ribbon + 5) - 9;
  const picture = (room * (count > 1 ? 0.42 : 0.34) - 6 * (count - 1)) / count;
  const lane = (room * (count > 1 ? 0.58 : 0.66)) / 2;
  const x = (time) => left + ((time - start) / (end - start)) * (right - left);
  const place = { left, right, top, bottom, start, end, x, lanes: {}, pictures: [] };
  place.time = (at) => start + ((at - left) / (right - left)) * (end - start);

  const most = Math.max(2, Math.floor((right - left) / 72));
  const step = TIME_STEPS.find((s) => (end - start) / s <= most) ?? end - start;
  const times = [];
  for (let time = Math.ceil(start / step) * step; time <= end + 1e-6; time += step) times.push(time);

  let from = top;
  for (const name of ["valence", "arousal"]) {
    const high = from;
    const y = (value) => high + ((1 - value / range) / 2) * lane;
    const [low, zero] = [y(-range), y(0)];
    place.lanes[name] = { top: high, bottom: low, y };
    for (const time of times) stroke(context, [[x(time), high], [x(time), low]], colours.grid, 1);
    for (const value of [high, low]) stroke(context, [[left, value], [right, value]], colours.grid, 1);
    stroke(context, [[left, zero], [right, zero]], colours.line, 1.25);
    write(context, colours, ticks(range)[0], left - 9, high + 10, { align: "right", size: 11 });
    write(context, colours, "0", left - 9, zero + 4, { align: "right", size: 11 });
    write(context, colours, ticks(range)[1], left - 9, low - 2, { align: "right", size: 11 });

    context.save();
    context.beginPath();
    context.rect(left, high - 2, right - left, lane + 4);
    context.clip();
    for (const track of tracks) {
      const { curve } = track;
      if (!curve.times_s.length) continue;
      const colour = colours[track.slot];
      const [lower, upper] = [curve[`${name}_low`], curve[`${name}_high`]];
      if (lower && upper) {
        const band = [
          ...pointsOf(curve, upper, start, end, x, y),
          ...pointsOf(curve, lower, start, end, x, y).reverse(),
        ];
        fill(context, band, colour, 0.18);
      }
      const points = pointsOf(curve, curve[name], start, end, x, y);
      if (tracks.length === 1 && !(lower && upper)) {
        const shade = context.createLinearGradient(0, high, 0, low);
        shade.addColorStop(0, veil(colour, 0.34));
        shade.addColorStop(0.5, veil(colour, 0.04));
        shade.addColorStop(1, veil(colour, 0.34));
        fill(context, [[points[0][0], zero], ...points, [points.at(-1)[0], zero]], shade, 1);
      }
      stroke(context, points, colour, 2);
    }
    context.restore();
    const label = name[0].toUpperCase() + name.slice(1);
    write(context, colours, label, left + 8, high + 16, { weight: 600, size: 12.5, colour: "ink", halo: true });
    const wide = context.measureText(label).width;
    const [lowEnd, highEnd] = AXIS_ENDS[name];
    write(context, colours, `\u2191 ${highEnd}`, left + 16 + wide, high + 16, { size: 11.5, halo: true });
    write(context, colours, `\u2193 ${lowEnd}`, left + 8, low - 8, { size: 11.5, halo: true });
    from += lane + 14;
  }

  for (const { curve } of tracks) {
    context.save();
    context.beginPath();
    context.roundRect(left, from, right - left, ribbon, 3);
    context.clip();
    context.fillStyle = colours.grid;
    context.fillRect(left, from, right - left, ribbon);
    const length = curve.times_s[1] - curve.times_s[0] || curve.times_s[0];
    curve.times_s.forEach((time, i) => {
      if (time < start || time - length > end) return;
      context.fillStyle = moodColour(curve.valence[i], curve.arousal[i], colours.dark);
      context.fillRect(x(time - length), from, x(time) - x(time - length) + 0.5, ribbon);
    });
    context.restore();
    from += ribbon + 5;
  }
  if (tracks.length) write(context, colours, "mood", left - 9, from - count * (ribbon + 5) + 9, { align: "right", size: 11 });

  from += 9;
  for (const track of tracks) {
    const area = { slot: track.slot, top: from, bottom: from + picture };
    place.pictures.push(area);
    paintSpectrogram(context, track, area, place, colours);
    from += picture + 6;
  }

  for (const time of times) {
    stroke(context, [[x(time), bottom], [x(time), bottom + 5]], colours.line, 1);
    // The last label must stay within the picture.
    const align = x(time) > right - 12 ? "right" : "center";
    write(context, colours, clock(time, step < 1 ? 1 : 0), Math.min(x(time), right), bottom + 18, { align, size: 11.5 });
  }
  write(context, colours, "time (min:s)", (left + right) / 2, bottom + 34, { align: "center", size: 11.5 });
  return place;
}

export function fill(context, points, colour, alpha) {
  context.save();
  context.globalAlpha = alpha;
  context.fillStyle = colour;
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
  context.fill();
  context.restore();
}

function paintSpectrogram(context, track, { top, bottom }, { left, right, start, end, x }, colours) {
  const { picture } = track;
  context.save();
  context.beginPath();
  context.roundRect(left, top, right - left, bottom - top, 4);
  context.clip();
  context.fillStyle = colours.dark ? `rgb(${RAMPS.dark[0]})` : colours.grid;
  context.fillRect(left, top, right - left, bottom - top);
  if (picture?.columns.length) {
    const { columns, seconds } = picture;
    const first = Math.max(0, Math.floor(start / seconds));
    const last = Math.min(columns.length, Math.ceil(end / seconds));
    if (last > first) {
      const image = new ImageData(last - first, BANDS);
      const ramp = ramps[colours.dark ? "dark" : "light"];
      for (let i = first; i < last; i++) {
        for (let band = 0; band < BANDS; band++) {
          const level = (columns[i][band] - picture.peak) / RANGE_DB + 1;
          const colour = 3 * Math.round(255 * Math.min(1, Math.max(0, level)));
          const pixel = 4 * ((BANDS - 1 - band) * image.width + i - first);
          image.data.set([ramp[colour], ramp[colour + 1], ramp[colour + 2], 255], pixel);
        }
      }
      const sheet = new OffscreenCanvas(image.width, BANDS);
      sheet.getContext("2d").putImageData(image, 0, 0);
      context.imageSmoothingQuality = "high";
      context.drawImage(sheet, x(first * seconds), top, x(last * seconds) - x(first * seconds), bottom - top);
    }
  }
  context.restore();
  const y = (hz) => bottom - heightOf(hz) * (bottom - top);
  const shown = bottom - top < 60 ? [1000] : FREQUENCIES_HZ;
  for (const hz of shown) {
    stroke(context, [[left - 5, y(hz)], [left, y(hz)]], colours.line, 1);
    write(context, colours, pitch(hz), left - 8, y(hz) + 4, { align: "right", size: 10.5 });
  }
  if (!picture) {
    const text = track.undecodable ? "This browser cannot decode this format" : "Drawing the spectrogram\u2026";
    write(context, colours, text, (left + right) / 2, (top + bottom) / 2 + 4, { align: "center" });
  }
}

/** The valence-arousal plane, with the path of the music through it. */
export function paintPlane(context, width, height, { tracks, range, colours }) {
  const side = Math.min(width - 44, height - 30);
  const [left, top] = [40, 4];
  const [right, bottom] = [left + side, top + side];
  const x = (valence) => left + ((valence / range + 1) / 2) * side;
  const y = (arousal) => top + ((1 - arousal / range) / 2) * side;

  context.save();
  context.beginPath();
  context.roundRect(left, top, side, side, 14);
  context.clip();
  context.fillStyle = colours.surface;
  context.fillRect(left, top, side, side);
  context.globalAlpha = colours.dark ? 0.42 : 0.5;
  context.imageSmoothingQuality = "high";
  context.drawImage(glow(colours.dark, range), left, top, side, side);
  context.globalAlpha = 1;
  for (const value of [-range / 2, 0, range / 2]) {
    const [colour, alpha] = value ? [colours.ink, 0.07] : [colours.ink, 0.28];
    stroke(context, [[x(value), top], [x(value), bottom]], colour, 1, alpha);
    stroke(context, [[left, y(value)], [right, y(value)]], colour, 1, alpha);
  }
  context.restore();

  const size = side < 300 ? 11.5 : 13;
  for (const { signs: [sx, sy], words } of QUADRANTS) {
    write(context, colours, words, x(sx * range) - 12 * sx, y(sy * range) + (sy > 0 ? 22 : -13), {
      align: sx > 0 ? "right" : "left",
      size,
      weight: 550,
      colour: "ink",
    });
  }
  const [upper, lower] = ticks(range);
  for (const [text, sign, align] of [[lower, -1, "left"], ["0", 0, "center"], [upper, 1, "right"]]) {
    write(context, colours, text, x(sign * range), bottom + 15, { align, size: 11 });
    write(context, colours, text, left - 6, y(sign * range) + 4 + 6 * sign, { align: "right", size: 11 });
  }
  write(context, colours, "valence \u2192", x(range / 2), bottom + 15, { align: "center", size: 11.5 });
  context.save();
  context.translate(left - 10, y(range / 2));
  context.rotate(-Math.PI / 2);
  write(context, colours, "arousal \u2192", 0, 0, { align: "center", size: 11.5 });
  context.restore();

  for (const { curve, slot } of tracks) {
    if (!curve.times_s.length) continue;
    const points = curve.valence.map((v, i) => [x(v), y(curve.arousal[i])]);
    stroke(context, points, colours[slot], 1.75, tracks.length > 1 ? 0.38 : 0.45);
    context.save();
    Object.assign(context, { fillStyle: colours.surface, strokeStyle: colours[slot], lineWidth: 2 });
    context.beginPath();
    context.arc(...points[0], 4, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
    if (curve.mean) {
      context.translate(x(curve.mean.valence), y(curve.mean.arousal));
      context.rotate(Math.PI / 4);
      context.fillStyle = colours[slot];
      context.strokeStyle = colours.surface;
      context.beginPath();
      context.rect(-5, -5, 10, 10);
      context.fill();
      context.stroke();
    }
    context.restore();
  }
  return { left, right, top, bottom, x, y };
}

const glows = {};

/** The plane in the colours of its feelings, transparent in the middle. */
export function glow(dark, range) {
  const cells = 48;
  const key = `${dark} ${range}`;
  glows[key] ??= (() => {
    const sheet = new OffscreenCanvas(cells, cells);
    const context = sheet.getContext("2d");
    for (let i = 0; i < cells; i++) {
      for (let j = 0; j < cells; j++) {
        const [valence, arousal] = [((i + 0.5) / cells) * 2 - 1, 1 - ((j + 0.5) / cells) * 2];
        context.globalAlpha = Math.min(1, Math.hypot(valence, arousal)) ** 1.4;
        context.fillStyle = moodColour(valence * range, arousal * range, dark);
        context.fillRect(i, j, 1, 1);
      }
    }
    return sheet;
  })();
  return glows[key];
}

// ------------------------------------------------------------------ charts on the page

/** Set the size of a canvas so that it is sharp on this screen, and return its context. */
export function sized(canvas, width, height, scale = devicePixelRatio) {
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return context;
}

export class Chart {
  constructor(root) {
    this.root = root;
    [this.still, this.moving] = root.querySelectorAll("canvas");
    this.tip = root.querySelector(".tip");
    this.time = 0;
    this.tracks = [];
    this.range = 1;
    new ResizeObserver(() => this.draw()).observe(root);
    root.addEventListener("pointerleave", () => this.point(null));
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.root;
    if (!width || !height) return;
    this.width = width;
    this.height = height;
    this.colours = palette();
    this.place = this.paint(sized(this.still, width, height), width, height);
    this.above = sized(this.moving, width, height);
    this.move(this.time);
  }

  /** Show or hide the note beside the pointer. */
  say(text, x, y) {
    this.tip.hidden = !text;
    if (!text) return;
    this.tip.textContent = text;
    const { offsetWidth: width, offsetHeight: height } = this.tip;
    const across = x + 16 + width > this.width ? x - 16 - width : x + 16;
    this.tip.style.transform = `translate(${Math.max(0, across)}px, ${Math.max(0, y - height - 8)}px)`;
  }
}

const describePoint = (track, time, many) => {
  const name = many ? `${track.slot.toUpperCase()}  ` : "";
  if (isOver(track, time)) return `${name}ended`;
  const [valence, arousal] = ["valence", "arousal"].map((name) => signed(at(track.curve.times_s, track.curve[name], time)));
  return `${name}valence ${valence}, arousal ${arousal}`;
};

const hasFrames = ({ curve }) => curve.times_s.length > 0;

/** All curves over time with a playhead. It is a slider for mouse, touch and keyboard. */
export class TimeChart extends Chart {
  start = 0;
  end = 1;

  constructor(root, onSeek) {
    super(root);
    this.onSeek = onSeek;
    const seek = (event) => this.place && this.seek(this.place.time(this.across(event)));
    root.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      root.setPointerCapture(event.pointerId);
      seek(event);
    });
    root.addEventListener("pointermove", (event) => {
      if (root.hasPointerCapture(event.pointerId)) seek(event);
      this.point(event);
    });
    root.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 5 : 0.5;
      const target = {
        ArrowRight: this.time + step,
        ArrowUp: this.time + step,
        ArrowLeft: this.time - step,
        ArrowDown: this.time - step,
        PageUp: this.time + 10,
        PageDown: this.time - 10,
        Home: 0,
        End: this.end,
      }[event.key];
      if (target === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      this.seek(target);
    });
  }

  across(event) {
    return event.clientX - this.root.getBoundingClientRect().left;
  }

  seek(time) {
    this.onSeek(Math.min(Math.max(time, 0), this.end));
  }

  show(tracks, range, start, end) {
    Object.assign(this, { tracks, range, start, end });
    this.root.setAttribute("aria-valuemin", 0);
    this.root.setAttribute("aria-valuemax", end.toFixed(1));
    this.draw();
  }

  paint(context, width, height) {
    return paintTime(context, width, height, this);
  }

  point(event) {
    this.pointed = event && this.place ? { x: this.across(event), y: event.offsetY } : null;
    if (this.pointed && (this.pointed.x < this.place.left || this.pointed.x > this.place.right)) this.pointed = null;
    const drawn = this.tracks.filter(hasFrames);
    if (this.pointed && drawn.length) {
      const { x, y } = this.pointed;
      const time = this.place.time(x);
      const lines = [clock(time, 1), ...drawn.map((track) => describePoint(track, time, this.tracks.length > 1))];
      const picture = this.place.pictures.find(({ top, bottom }) => y >= top && y <= bottom);
      if (picture) lines.push(pitch(frequencyAt((picture.bottom - y) / (picture.bottom - picture.top))));
      this.say(lines.join("\n"), x, y);
    } else this.say("");
    if (this.above) this.move(this.time);
  }

  move(time) {
    this.time = time;
    if (!this.above) return;
    const { above: context, place, colours, pointed } = this;
    context.clearRect(0, 0, this.width, this.height);
    const drawn = this.tracks.filter(hasFrames);
    if (!drawn.length) return;
    if (pointed) stroke(context, [[pointed.x, place.top], [pointed.x, place.bottom]], colours.quiet, 1, 0.6);
    const x = place.x(Math.min(time, this.end));
    stroke(context, [[x, place.top], [x, place.bottom]], colours.surface, 3.5, 0.75);
    stroke(context, [[x, place.top], [x, place.bottom]], colours.ink, 1.5);
    for (const track of drawn) {
      const { curve, slot } = track;
      for (const [name, { y }] of Object.entries(place.lanes)) {
        if (isOver(track, time)) continue;
        context.beginPath();
        context.arc(x, y(at(curve.times_s, curve[name], time)), 5.5, 0, 2 * Math.PI);
        Object.assign(context, { fillStyle: colours[slot], strokeStyle: colours.surface, lineWidth: 2 });
        context.fill();
        context.stroke();
      }
    }
    this.root.setAttribute("aria-valuenow", time.toFixed(1));
    this.root.setAttribute(
      "aria-valuetext",
      [clock(time, 1), ...drawn.map((track) => describePoint(track, time, this.tracks.length > 1))].join("; "),
    );
  }
}

/** The plane, with a moving dot and a trail for each track. */
export class PlaneChart extends Chart {
  constructor(root, onSeek) {
    super(root);
    this.dots = Object.fromEntries([...root.querySelectorAll(".dot")].map((dot) => [dot.dataset.slot, dot]));
    root.addEventListener("pointermove", (event) => this.point(event));
    root.addEventListener("click", (event) => {
      this.point(event);
      if (this.nearest) onSeek(this.nearest.time);
    });
  }

  show(tracks, range) {
    Object.assign(this, { tracks, range });
    this.draw();
  }

  paint(context, width, height) {
    return paintPlane(context, width, height, this);
  }

  point(event) {
    this.nearest = null;
    if (event && this.place) {
      const box = this.root.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      let least = NEAR_PIXELS;
      for (const track of this.tracks) {
        track.curve.times_s.forEach((time, i) => {
          const [px, py] = [this.place.x(track.curve.valence[i]), this.place.y(track.curve.arousal[i])];
          const distance = Math.hypot(px - x, py - y);
          if (distance < least) {
            least = distance;
            this.nearest = { track, time, x: px, y: py };
          }
        });
      }
    }
    this.root.classList.toggle("near", this.nearest !== null);
    if (this.nearest) {
      const { track, time, x, y } = this.nearest;
      this.say(`${clock(time, 1)}\n${describePoint(track, time, this.tracks.length > 1)}`, x, y);
    } else this.say("");
    if (this.above) this.move(this.time);
  }

  move(time) {
    this.time = time;
    if (!this.above) return;
    const { above: context, place, colours } = this;
    context.clearRect(0, 0, this.width, this.height);
    for (const dot of Object.values(this.dots)) dot.hidden = true;
    for (const { curve, slot } of this.tracks) {
      if (!curve.times_s.length) continue;
      const point = (t) => [place.x(at(curve.times_s, curve.valence, t)), place.y(at(curve.times_s, curve.arousal, t))];
      const now = Math.min(time, curve.times_s.at(-1));
      const step = 0.25;
      const first = Math.max(curve.times_s[0], now - TRAIL_SECONDS);
      for (let t = now; t > first; t -= step) {
        const width = 1.75 + 4.25 * (1 - (now - t) / TRAIL_SECONDS);
        stroke(context, [point(t), point(Math.max(first, t - step))], colours[slot], width);
      }
      const dot = this.dots[slot];
      const [x, y] = point(now);
      dot.hidden = false;
      dot.style.transform = `translate(${x.toFixed(2)}px, ${y.toFixed(2)}px)`;
    }
    if (this.nearest) {
      context.beginPath();
      context.arc(this.nearest.x, this.nearest.y, 6, 0, 2 * Math.PI);
      Object.assign(context, { strokeStyle: colours.ink, lineWidth: 2 });
      context.stroke();
    }
  }
}

// ------------------------------------------------------------------ the picture to download

/** Both charts with their names, as a canvas of 2400 by some 1500 pixels. */
export function poster(tracks, range, end, credit) {
  const [width, pad, head] = [1200, 40, 92 + 34 * tracks.length];
  const [chart, side] = [tracks.length > 1 ? 600 : 500, 400];
  const height = head + chart + 66;
  const canvas = document.createElement("canvas");
  const context = sized(canvas, width, height, 2);
  const colours = palette();
  context.fillStyle = colours.surface;
  context.fillRect(0, 0, width, height);
  write(context, colours, "How the music feels", pad, 62, { size: 28, weight: 650, colour: "ink" });
  tracks.forEach(({ name, curve, slot }, i) => {
    const y = 98 + 34 * i;
    context.fillStyle = colours[slot];
    context.beginPath();
    context.arc(pad + 7, y - 5, 7, 0, 2 * Math.PI);
    context.fill();
    const short = name.length > 60 ? `${name.slice(0, 59)}\u2026` : name;
    write(context, colours, short, pad + 24, y, { size: 16, weight: 600, colour: "ink" });
    const after = pad + 40 + context.measureText(short).width;
    const mean = `mean valence ${signed(curve.mean.valence)}, mean arousal ${signed(curve.mean.arousal)}`;
    write(context, colours, `${feeling(curve)}  \u00b7  ${mean}`, after, y, { size: 15 });
  });
  context.translate(pad, head);
  paintTime(context, width - 3 * pad - side, chart, { tracks, range, start: 0, end, colours });
  context.translate(width - 2 * pad - side, 0);
  paintPlane(context, side, side, { tracks, range, colours });
  context.setTransform(2, 0, 0, 2, 0, 0);
  write(context, colours, credit, pad, height - 24, { size: 12.5 });
  return canvas;
}
