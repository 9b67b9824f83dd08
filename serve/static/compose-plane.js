// The plane in which a mood is chosen, or a path is drawn. It is the map of the library without tracks.

import { QUADRANTS } from "./affect.js";
import { moodColour, signed, stroke } from "./charts.js";
import { TrackMap } from "./library-map.js";

const STEP = 0.05;
const BIG_STEP = 0.25;

const within = (value) => Math.min(1, Math.max(-1, value));

export class MoodPlane extends TrackMap {
  mood = [0, 0]; // The chosen mood, or where the keyboard is.
  path = null; // Points of a drawn path.
  heard = null; // What the model hears, at the time that is played.

  /** `handlers`: onPlace, onDraw, onSay. */
  constructor(root, handlers) {
    super(root, { onPoint() {}, onPick() {}, onPlay() {}, onDrop() {}, onLasso() {}, ...handlers });
    this.tool = "draw";
  }

  /** Choose one mood ("place") or draw a path ("path"). */
  choose(kind) {
    this.kind = kind;
    this.root.dataset.tool = kind === "path" ? "draw" : "place";
    this.move();
  }

  show(place, path) {
    this.mood = place;
    this.path = path;
    this.drawnPath = path;
    this.move();
  }

  press(event) {
    super.press(event);
    if (this.kind === "place" && this.line.length) this.set(this.line[0]);
  }

  over(event) {
    if (this.kind !== "place") return super.over(event);
    if (this.line.length) this.set(this.pointOf(event));
  }

  release(event) {
    if (this.kind !== "place") return super.release(event);
    this.line = [];
    this.say("");
    this.move();
  }

  /** The mood at a pixel is chosen. */
  set([x, y]) {
    this.mood = [this.place.valence(x), this.place.arousal(y)].map(within);
    this.onPlace(this.mood);
    this.say(this.mood.map((value) => signed(value)).join(", "), x, y);
    this.move();
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const step = event.shiftKey ? BIG_STEP : STEP;
    const arrow = { ArrowRight: [step, 0], ArrowLeft: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
    if (arrow) {
      this.mood = this.mood.map((value, i) => within(Math.round((value + arrow[i]) * 100) / 100));
      if (this.kind === "place") this.onPlace(this.mood);
      this.onSay(this.words(this.mood));
    } else if (this.kind === "path" && event.key === "Enter") this.onDraw([...(this.path ?? []), this.mood]);
    else if (this.kind === "path" && event.key === "Backspace") this.onDraw(this.path?.slice(0, -1) ?? []);
    else if (event.key === "Escape") this.cancel();
    else return;
    event.preventDefault();
    this.move();
  }

  words([valence, arousal]) {
    const { words } = QUADRANTS.find(({ signs }) => signs[0] > 0 === valence >= 0 && signs[1] > 0 === arousal >= 0);
    return `${words}: valence ${signed(valence)}, arousal ${signed(arousal)}`;
  }

  move() {
    super.move();
    const { above: context, place, colours } = this;
    if (!context) return;
    const pixel = ([valence, arousal]) => [place.x(valence), place.y(arousal)];
    const dot = (point, radius, fill, line) => {
      context.beginPath();
      context.arc(...pixel(point), radius, 0, 2 * Math.PI);
      context.fillStyle = fill;
      context.fill();
      Object.assign(context, { strokeStyle: line, lineWidth: 2.5 });
      context.stroke();
    };
    const path = this.kind === "path" ? this.path : null;
    if (path?.length) {
      stroke(context, path.map(pixel), colours.a, 2.5);
      dot(path[0], 5.5, colours.surface, colours.a);
      dot(path.at(-1), 5.5, colours.a, colours.surface);
    }
    if (this.kind === "place") dot(this.mood, 10, moodColour(...this.mood, colours.dark), colours.ink);
    else if (document.activeElement === this.root) dot(this.mood, 6, "transparent", colours.ink);
    if (this.heard) dot(this.heard, 7, colours.b, colours.surface);
  }
}
