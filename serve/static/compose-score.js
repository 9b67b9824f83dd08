// The notes of a piece as a piano roll, over the wanted mood and what the model hears. A slider.

import { AXIS_ENDS } from "./affect.js";
import { TimeChart, at, clock, moodColour, signed, stroke, write } from "./charts.js";

const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120];
const TARGETS = ["valence", "arousal"];
const LEAST_PITCHES = 24; // Keys that are shown at least.
const GAP = 16; // Pixels between the parts.
const NAMES = ["C", "C\u266f", "D", "D\u266f", "E", "F", "F\u266f", "G", "G\u266f", "A", "A\u266f", "B"];

const nameOf = (pitch) => `${NAMES[pitch % 12]}${Math.floor(pitch / 12) - 1}`;

export class Score extends TimeChart {
  notes = [];
  wanted = null; // Curves with times_s, valence and arousal.
  heard = null;

  /** A new piece of so many seconds. */
  begin(seconds, wanted) {
    Object.assign(this, { notes: [], wanted, heard: null, end: seconds, time: 0, range: [48, 48 + LEAST_PITCHES] });
    this.root.setAttribute("aria-valuemin", 0);
    this.root.setAttribute("aria-valuemax", seconds.toFixed(1));
    this.draw();
  }

  /** Take notes. They are painted with the next frame of the screen. */
  add(notes) {
    this.notes.push(...notes);
    for (const { pitch } of notes) {
      this.range[0] = Math.min(this.range[0], pitch - 2);
      this.range[1] = Math.max(this.range[1], pitch + 2);
    }
    this.later();
  }

  later() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  paint(context, width, height) {
    const { colours, end } = this;
    const [left, right] = [width < 500 ? 34 : 50, width - 10];
    const [top, bottom] = [4, height - 34];
    const lane = Math.max(44, (bottom - top) * 0.18);
    const roll = bottom - top - 2 * (lane + GAP);
    const x = (time) => left + (time / end) * (right - left);
    const place = { left, right, top, bottom, roll, x, lanes: {} };
    place.time = (px) => ((px - left) / (right - left)) * end;
    const most = Math.max(2, Math.floor((right - left) / 70));
    const step = TIME_STEPS.find((s) => end / s <= most) ?? end;
    for (let time = 0; time <= end + 1e-6; time += step) {
      stroke(context, [[x(time), top], [x(time), bottom]], colours.grid, 1);
      write(context, colours, clock(time), Math.min(x(time), right), bottom + 17, { align: x(time) > right - 14 ? "right" : "center", size: 11.5 });
    }
    write(context, colours, "time (min:s)", (left + right) / 2, bottom + 31, { align: "center", size: 11 });
    this.paintRoll(context, place);
    TARGETS.forEach((name, n) => this.paintLane(context, place, name, top + roll + GAP + n * (lane + GAP), lane));
    return place;
  }

  paintRoll(context, place) {
    const { colours, notes, wanted } = this;
    const { left, right, top, roll, x } = place;
    const [low, high] = this.range ?? [48, 72];
    const row = roll / (high - low);
    place.y = (pitch) => top + (high - pitch) * row;
    for (let pitch = Math.ceil(low / 12) * 12; pitch < high; pitch += 12) {
      const y = place.y(pitch) + row / 2;
      stroke(context, [[left, y], [right, y]], colours.grid, 1);
      write(context, colours, nameOf(pitch), left - 8, y + 4, { align: "right", size: 11 });
    }
    for (const note of notes) {
      const mood = wanted ? TARGETS.map((name) => at(wanted.times_s, wanted[name], note.start_s)) : [0, 0];
      context.globalAlpha = 0.45 + (0.55 * note.velocity) / 127;
      context.fillStyle = moodColour(...mood, colours.dark);
      context.beginPath();
      context.roundRect(...this.boxOf(note, place, row), 2);
      context.fill();
    }
    context.globalAlpha = 1;
    place.row = row;
  }

  boxOf({ start_s: start, length_s: length, pitch }, { x, y }, row) {
    return [x(start), y(pitch), Math.max(2, x(start + length) - x(start) - 0.5), Math.max(2, row - 0.5)];
  }

  paintLane(context, place, name, high, lane) {
    const { colours } = this;
    const { left, right, x } = place;
    const y = (value) => high + ((1 - value) / 2) * lane;
    place.lanes[name] = { y };
    for (const value of [1, -1]) stroke(context, [[left, y(value)], [right, y(value)]], colours.grid, 1);
    stroke(context, [[left, y(0)], [right, y(0)]], colours.line, 1.25);
    for (const [text, value] of [["+1", 0.85], ["0", -0.1], ["\u22121", -0.97]]) write(context, colours, text, left - 8, y(value) + 3, { align: "right", size: 10.5 });
    context.save();
    context.beginPath();
    context.rect(left, high - 2, right - left, lane + 4);
    context.clip();
    if (this.heard) stroke(context, this.heard.times_s.map((time, i) => [x(Math.min(time, this.end)), y(this.heard[name][i])]), colours.b, 2);
    if (this.wanted) {
      const { times_s: times } = this.wanted;
      const points = times.map((time, i) => [x(time), y(this.wanted[name][i])]);
      stroke(context, [...points, [right, points.at(-1)[1]]], colours.a, 2);
    }
    context.restore();
    write(context, colours, `${name[0].toUpperCase()}${name.slice(1)}`, left + 6, high + 12, { weight: 600, size: 12, colour: "ink", halo: true });
    const wide = context.measureText(`${name} `).width;
    write(context, colours, `\u2191 ${AXIS_ENDS[name][1]}`, left + 14 + wide, high + 12, { size: 11, halo: true });
  }

  /** Mood at a time: wanted, and heard if it is known. */
  describe(time) {
    const say = (curve) => TARGETS.map((name) => `${name} ${signed(at(curve.times_s, curve[name], time))}`).join(", ");
    const parts = [clock(time, 1)];
    if (this.wanted) parts.push(`wanted: ${say(this.wanted)}`);
    if (this.heard) parts.push(`heard: ${say(this.heard)}`);
    return parts;
  }

  point(event) {
    if (!this.place) return;
    const x = event ? this.across(event) : NaN;
    if (x >= this.place.left && x <= this.place.right) this.say(this.describe(this.place.time(x)).join("\n"), x, event.offsetY);
    else this.say("");
  }

  move(time) {
    this.time = time;
    if (!this.above || !this.place) return;
    const { above: context, place, colours } = this;
    context.clearRect(0, 0, this.width, this.height);
    for (const note of this.notes) {
      if (note.start_s > time || note.start_s + note.length_s < time) continue;
      context.beginPath();
      context.roundRect(...this.boxOf(note, place, place.row), 2);
      Object.assign(context, { strokeStyle: colours.ink, lineWidth: 1.75 });
      context.stroke();
    }
    const x = place.x(Math.min(time, this.end));
    stroke(context, [[x, place.top], [x, place.bottom]], colours.surface, 3.5, 0.75);
    stroke(context, [[x, place.top], [x, place.bottom]], colours.ink, 1.5);
    this.root.setAttribute("aria-valuenow", Math.min(time, this.end).toFixed(1));
    this.root.setAttribute("aria-valuetext", this.describe(Math.min(time, this.end)).join("; "));
  }
}
