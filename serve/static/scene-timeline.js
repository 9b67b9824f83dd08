// The timeline of a film: its scenes, the mood that is wanted in each, and the music that was chosen.

import { AXIS_ENDS } from "./affect.js";
import { Chart, at, clock, fill, moodColour, signed, stroke, write } from "./charts.js";

const RULER = 22;
const STRIP = 30;
const EDGE = 7; // Pixels around the edge of a scene where it can be dragged.
const TIME_STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600];
const TARGETS = ["valence", "arousal"];

/** Most points of a wanted curve. */
const MOST_POINTS = 400;
const FRAME = 0.5;
export const SHORTEST = 1; // Seconds of a scene.

/** Seconds between two points of a scene's wanted curve. */
export const stepOf = (scene) => Math.max(FRAME, (scene.end_s - scene.start_s) / MOST_POINTS);

/** The wanted mood of a scene at a second of it. */
export function wantedAt(scene, second) {
  if (scene.curve) {
    const times = scene.curve.map((point) => point.at_s);
    return TARGETS.map((name) => at(times, scene.curve.map((point) => point[name]), second));
  }
  const share = Math.min(1, Math.max(0, second / (scene.end_s - scene.start_s)));
  return TARGETS.map((name) => scene.from[name] + share * (scene.to[name] - scene.from[name]));
}

/** The wanted curve of a scene as points at equal distances. */
export function curveOfScene(scene) {
  const length = scene.end_s - scene.start_s;
  const count = Math.max(1, Math.round(length / stepOf(scene)));
  return Array.from({ length: count + 1 }, (_, i) => {
    const at_s = (i / count) * length;
    const [valence, arousal] = wantedAt(scene, at_s);
    return { at_s, valence, arousal };
  });
}

export class Timeline extends Chart {
  scenes = [];
  seconds = 60;
  chosen = null;
  held = null;

  /** `handlers`: onSeek, onChoose, onEdge, onPaint, onDone. */
  constructor(root, handlers) {
    super(root);
    Object.assign(this, handlers);
    root.addEventListener("pointerdown", (event) => this.press(event));
    root.addEventListener("pointermove", (event) => this.over(event));
    root.addEventListener("pointerup", () => this.release());
    root.addEventListener("pointercancel", () => this.release());
    root.addEventListener("keydown", (event) => this.key(event));
  }

  show(scenes, seconds, chosen) {
    Object.assign(this, { scenes, seconds, chosen });
    this.root.setAttribute("aria-valuemax", seconds.toFixed(1));
    this.draw();
  }

  paint(context, width, height) {
    const { colours, scenes, seconds } = this;
    const [left, right] = [width < 500 ? 30 : 44, width - 8];
    const top = RULER + STRIP + 8;
    const lane = (height - top - 14) / 2;
    const x = (time) => left + (time / seconds) * (right - left);
    const place = { left, right, top, x, time: (px) => Math.min(seconds, Math.max(0, ((px - left) / (right - left)) * seconds)), lanes: {} };

    const most = Math.max(2, Math.floor((right - left) / 70));
    const step = TIME_STEPS.find((s) => seconds / s <= most) ?? seconds;
    for (let time = 0; time <= seconds + 1e-6; time += step) {
      stroke(context, [[x(time), RULER - 5], [x(time), height]], colours.grid, 1);
      write(context, colours, clock(time, step < 1 ? 1 : 0), Math.min(x(time), right), RULER - 9, { align: x(time) > right - 14 ? "right" : "center", size: 11 });
    }
    TARGETS.forEach((name, n) => {
      const high = top + n * (lane + 10);
      const y = (value) => high + ((1 - value) / 2) * lane;
      place.lanes[name] = { top: high, bottom: high + lane, y, value: (py) => Math.min(1, Math.max(-1, 1 - ((py - high) / lane) * 2)) };
      for (const value of [1, -1]) stroke(context, [[left, y(value)], [right, y(value)]], colours.grid, 1);
      stroke(context, [[left, y(0)], [right, y(0)]], colours.line, 1.25);
      for (const [text, value] of [["+1", 0.9], ["0", -0.05], ["\u22121", -0.97]]) write(context, colours, text, left - 6, y(value) + 3, { align: "right", size: 10.5 });
    });
    for (const scene of scenes) this.paintScene(context, place, scene);
    TARGETS.forEach((name) => {
      const { top: high } = place.lanes[name];
      write(context, colours, `${name[0].toUpperCase()}${name.slice(1)}`, left + 6, high + 14, { weight: 600, size: 12, colour: "ink", halo: true });
      const wide = context.measureText(`${name} `).width;
      write(context, colours, `\u2191 ${AXIS_ENDS[name][1]}`, left + 14 + wide, high + 14, { size: 11, halo: true });
    });
    return place;
  }

  paintScene(context, place, scene) {
    const { colours } = this;
    const [from, to] = [place.x(scene.start_s), place.x(scene.end_s)];
    const active = scene === this.chosen;
    const points = curveOfScene(scene);
    context.save();
    context.beginPath();
    context.roundRect(from + 0.5, RULER, Math.max(2, to - from - 1), STRIP, 7);
    context.clip();
    points.forEach((point, i) => {
      context.fillStyle = moodColour(point.valence, point.arousal, colours.dark);
      const next = points[Math.min(i + 1, points.length - 1)];
      const x = place.x(scene.start_s + point.at_s);
      context.fillRect(x, RULER, place.x(scene.start_s + next.at_s) - x + 1, STRIP);
    });
    if (to - from > 26) {
      context.fillStyle = "#14112b";
      context.font = `600 12px ${colours.font}`;
      context.textAlign = "left";
      context.fillText(scene.label, from + 8, RULER + 19);
    }
    context.restore();
    if (active) {
      context.beginPath();
      context.roundRect(from + 0.5, RULER, Math.max(2, to - from - 1), STRIP, 7);
      Object.assign(context, { strokeStyle: colours.ink, lineWidth: 2.5 });
      context.stroke();
    }
    for (const [name, { top, bottom, y }] of Object.entries(place.lanes)) {
      fill(context, [[from, top], [to, top], [to, bottom], [from, bottom]], colours.a, active ? 0.1 : 0.04);
      const found = scene.found;
      if (found) stroke(context, found.times.map((time, i) => [place.x(scene.start_s + time), y(found[name][i])]), colours.b, 1.75, 0.95);
      stroke(context, points.map((point) => [place.x(scene.start_s + point.at_s), y(point[name])]), colours.a, active ? 3 : 2);
    }
  }

  /** Move the playhead. */
  move(time) {
    this.time = time;
    if (!this.above) return;
    const { above: context, place, colours } = this;
    context.clearRect(0, 0, this.width, this.height);
    const x = place.x(Math.min(time, this.seconds));
    stroke(context, [[x, 4], [x, this.height]], colours.surface, 4, 0.7);
    stroke(context, [[x, 4], [x, this.height]], colours.ink, 1.75);
    this.root.setAttribute("aria-valuenow", time.toFixed(1));
    const scene = this.scenes.find((one) => time >= one.start_s && time < one.end_s);
    const wanted = scene ? wantedAt(scene, time - scene.start_s) : null;
    const text = scene ? `${scene.label}, valence ${signed(wanted[0])}, arousal ${signed(wanted[1])}` : "no scene";
    this.root.setAttribute("aria-valuetext", `${clock(time, 1)}, ${text}`);
  }

  // ---------------------------------------------------------------- pointer

  /** What lies at a point: an edge, a lane of a scene, a scene, or the time. */
  part(event) {
    const box = this.root.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const time = this.place.time(x);
    const scene = this.scenes.find((one) => time >= one.start_s && time <= one.end_s) ?? null;
    if (y >= RULER && y <= RULER + STRIP) {
      for (const one of this.scenes) {
        for (const end of ["start_s", "end_s"]) {
          if (Math.abs(this.place.x(one[end]) - x) <= EDGE) return { kind: "edge", scene: one, end, time };
        }
      }
      if (scene) return { kind: "scene", scene, time };
    }
    const lane = TARGETS.find((name) => y >= this.place.lanes[name].top && y <= this.place.lanes[name].bottom);
    if (lane && scene) return { kind: "lane", scene, lane, time, value: this.place.lanes[lane].value(y) };
    return { kind: "time", time };
  }

  press(event) {
    if (event.button || !this.place) return;
    const part = this.part(event);
    this.root.setPointerCapture(event.pointerId);
    this.held = part;
    if (part.scene) this.onChoose(part.scene);
    if (part.kind === "time" || part.kind === "scene") this.onSeek(part.time);
    if (part.kind === "lane") this.onPaint(part.scene, part.lane, part, part);
  }

  over(event) {
    if (!this.place) return;
    if (!this.held) {
      this.root.classList.toggle("edge", this.part(event).kind === "edge");
      return;
    }
    const { held } = this;
    const box = this.root.getBoundingClientRect();
    const time = this.place.time(event.clientX - box.left);
    if (held.kind === "edge") this.onEdge(held.scene, held.end, time);
    else if (held.kind === "lane") {
      const now = { time, value: this.place.lanes[held.lane].value(event.clientY - box.top) };
      this.onPaint(held.scene, held.lane, held, now);
      Object.assign(held, now);
    } else this.onSeek(time);
  }

  release() {
    const { held } = this;
    this.held = null;
    if (held && (held.kind === "edge" || held.kind === "lane")) this.onDone(held.scene);
  }

  point() {}

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const step = event.shiftKey ? 5 : 0.5;
    const starts = [...this.scenes.map((one) => one.start_s), this.seconds];
    const target = {
      ArrowRight: this.time + step,
      ArrowUp: this.time + step,
      ArrowLeft: this.time - step,
      ArrowDown: this.time - step,
      PageDown: starts.find((start) => start > this.time + 0.05) ?? this.seconds,
      PageUp: starts.findLast((start) => start < this.time - 0.05) ?? 0,
      Home: 0,
      End: this.seconds,
    }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    const time = Math.min(this.seconds, Math.max(0, target));
    const scene = this.scenes.find((one) => time >= one.start_s && time < one.end_s);
    if (scene) this.onChoose(scene);
    this.onSeek(time);
  }
}

/** Paint a stretch of a scene's wanted curve: one target, from one place of the pointer to the next. */
export function paintCurve(scene, lane, from, to) {
  scene.curve ??= curveOfScene(scene);
  const [a, b] = from.time <= to.time ? [from, to] : [to, from];
  const half = stepOf(scene) / 2;
  for (const point of scene.curve) {
    const time = scene.start_s + point.at_s;
    if (time < a.time - half || time > b.time + half) continue;
    const share = b.time > a.time ? Math.min(1, Math.max(0, (time - a.time) / (b.time - a.time))) : 1;
    point[lane] = a.value + share * (b.value - a.value);
  }
}
