// The two charts. Each draws at the size it has on the page, so that text keeps its size.

const TIME_STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600];
const VALUE_TICKS = [-1, -0.5, 0, 0.5, 1];
const PATH_PARTS = 80;

export const clock = (seconds, digits = 0) => {
  const unit = 10 ** digits;
  const rounded = Math.round(seconds * unit) / unit;
  const rest = (rounded % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return `${Math.floor(rounded / 60)}:${rest}`;
};

export const signed = (value, digits = 2) => {
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) ? `\u2212${text}` : text;
};

/** Value of a curve at a time, between the two nearest of its points. */
export function at(times, values, time) {
  const last = times.length - 1;
  const position = Math.min(Math.max((time - times[0]) / (times[1] - times[0] || 1), 0), last);
  const before = Math.floor(position);
  const after = Math.min(before + 1, last);
  return values[before] + (position - before) * (values[after] - values[before]);
}

class Chart {
  constructor(svg) {
    this.svg = svg;
    this.data = null;
    this.time = 0;
    new ResizeObserver(() => this.draw()).observe(svg);
  }

  show(data) {
    this.data = data;
    this.time = 0;
    this.draw();
  }

  draw() {
    const { width, height } = this.svg.getBoundingClientRect();
    if (!this.data || !width) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren();
    this.paint(width, height);
    this.move(this.time);
  }

  add(tag, attributes, text) {
    const node = document.createElementNS(this.svg.namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return this.svg.appendChild(node);
  }

  line(x1, y1, x2, y2, kind) {
    return this.add("line", { x1, y1, x2, y2, class: kind });
  }

  text(x, y, text, anchor = "middle", more = {}) {
    return this.add("text", { x, y, "text-anchor": anchor, ...more }, text);
  }
}

/** Valence and arousal over time, with a playhead: a slider for mouse, touch and keyboard. */
export class TimeChart extends Chart {
  constructor(svg, onSeek) {
    super(svg);
    this.onSeek = onSeek;
    const seek = (event) => {
      if (!this.data) return;
      const x = event.clientX - svg.getBoundingClientRect().left;
      this.seek(((x - this.left) / (this.right - this.left)) * this.end);
    };
    svg.addEventListener("pointerdown", (event) => {
      svg.setPointerCapture(event.pointerId);
      seek(event);
    });
    svg.addEventListener("pointermove", (event) => {
      if (svg.hasPointerCapture(event.pointerId)) seek(event);
    });
    svg.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 5 : this.data?.frame_seconds;
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
      if (target === undefined || !this.data) return;
      event.preventDefault();
      this.seek(target);
    });
  }

  seek(time) {
    this.onSeek(Math.min(Math.max(time, 0), this.end));
  }

  paint(width, height) {
    const { times_s: times } = this.data;
    this.end = times.at(-1);
    [this.left, this.right, this.top, this.bottom] = [62, width - 16, 10, height - 44];

    for (const value of VALUE_TICKS) {
      const y = this.y(value);
      this.line(this.left, y, this.right, y, value === 0 ? "zero" : "grid");
      this.text(this.left - 10, y + 4, signed(value, 1), "end");
    }
    const room = Math.max(2, Math.floor((this.right - this.left) / 64));
    const step = TIME_STEPS.find((s) => this.end / s <= room) ?? this.end;
    for (let time = 0; time <= this.end; time += step) {
      this.line(this.x(time), this.bottom, this.x(time), this.bottom + 5, "zero");
      this.text(this.x(time), this.bottom + 20, clock(time, step < 1 ? 1 : 0));
    }
    const middle = (this.top + this.bottom) / 2;
    this.text(12, middle, "valence, arousal (\u22121 to 1)", "middle", {
      transform: `rotate(-90 12 ${middle})`,
      class: "axis-title",
    });
    this.text((this.left + this.right) / 2, height - 4, "time (min:s)", "middle", {
      class: "axis-title",
    });

    for (const name of ["valence", "arousal"]) {
      // The first value describes the audio from 0 s on.
      const points = [[0, this.data[name][0]], ...times.map((t, i) => [t, this.data[name][i]])];
      this.add("polyline", {
        class: `curve ${name}`,
        points: points.map(([t, v]) => `${this.x(t).toFixed(1)},${this.y(v).toFixed(1)}`).join(" "),
      });
    }
    this.playhead = this.line(0, this.top, 0, this.bottom, "playhead");
    this.dots = ["valence", "arousal"].map((name) => [
      name,
      this.add("circle", { r: 5, class: `dot ${name}` }),
    ]);
    this.svg.setAttribute("aria-valuemin", 0);
    this.svg.setAttribute("aria-valuemax", this.end);
  }

  x(time) {
    return this.left + (time / this.end) * (this.right - this.left);
  }

  y(value) {
    return this.top + ((1 - value) / 2) * (this.bottom - this.top);
  }

  move(time) {
    this.time = time;
    if (!this.playhead) return;
    const x = this.x(Math.min(time, this.end));
    this.playhead.setAttribute("x1", x);
    this.playhead.setAttribute("x2", x);
    const said = [clock(time, 1)];
    for (const [name, dot] of this.dots) {
      const value = at(this.data.times_s, this.data[name], time);
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", this.y(value));
      said.push(`${name} ${value.toFixed(2)}`);
    }
    this.svg.setAttribute("aria-valuenow", time.toFixed(1));
    this.svg.setAttribute("aria-valuetext", said.join(", "));
  }
}

/** The valence-arousal plane, with the way the music takes through it. */
export class PlaneChart extends Chart {
  paint(width, height) {
    const { valence, arousal, mean, quadrant } = this.data;
    [this.left, this.right, this.top, this.bottom] = [44, width - 6, 6, height - 44];
    const [x0, y0] = [this.x(0), this.y(0)];
    const corners = { Q1: [1, 1], Q2: [-1, 1], Q3: [-1, -1], Q4: [1, -1] };

    for (const [name, [sx, sy]] of Object.entries(corners)) {
      if (name === quadrant.name) {
        this.add("rect", {
          class: "here",
          x: Math.min(x0, this.x(sx)),
          y: Math.min(y0, this.y(sy)),
          width: (this.right - this.left) / 2,
          height: (this.bottom - this.top) / 2,
        });
      }
    }
    for (const value of VALUE_TICKS) {
      const kind = value === 0 ? "zero" : "grid";
      this.line(this.x(value), this.top, this.x(value), this.bottom, kind);
      this.line(this.left, this.y(value), this.right, this.y(value), kind);
    }
    for (const value of [-1, 0, 1]) {
      const anchor = { "-1": "start", 0: "middle", 1: "end" }[value];
      this.text(this.x(value), this.bottom + 18, signed(value, 0), anchor);
      this.text(this.left - 8, this.y(value) + 4 + 5 * value, signed(value, 0), "end");
    }
    this.add("rect", {
      class: "frame",
      x: this.left,
      y: this.top,
      width: this.right - this.left,
      height: this.bottom - this.top,
    });
    for (const [name, [sx, sy]] of Object.entries(corners)) {
      const inset = sx > 0 ? -10 : 10;
      const words = this.svg.dataset[name.toLowerCase()];
      this.text(this.x(sx) + inset, this.y(sy) + (sy > 0 ? 20 : -11), words, sx > 0 ? "end" : "start");
    }
    const middle = (this.top + this.bottom) / 2;
    this.text((this.left + this.right) / 2, height - 4, "valence (\u22121 to 1)", "middle", {
      class: "axis-title",
    });
    this.text(12, middle, "arousal (\u22121 to 1)", "middle", {
      transform: `rotate(-90 12 ${middle})`,
      class: "axis-title",
    });

    // Drawn in parts that grow stronger: the path shows which way time runs.
    const points = valence.map((v, i) => `${this.x(v).toFixed(1)},${this.y(arousal[i]).toFixed(1)}`);
    const size = Math.max(1, Math.ceil((points.length - 1) / PATH_PARTS));
    for (let i = 0; i < points.length - 1; i += size) {
      this.add("polyline", {
        class: "path",
        points: points.slice(i, i + size + 1).join(" "),
        "stroke-opacity": (0.2 + (0.7 * i) / points.length).toFixed(2),
      });
    }
    this.add("circle", { class: "start", r: 4.5, cx: this.x(valence[0]), cy: this.y(arousal[0]) });
    const [mx, my] = [this.x(mean.valence), this.y(mean.arousal)];
    this.add("rect", {
      class: "mean",
      x: mx - 4.5,
      y: my - 4.5,
      width: 9,
      height: 9,
      transform: `rotate(45 ${mx} ${my})`,
    });
    this.now = this.add("circle", { class: "now", r: 6.5 });
  }

  x(valence) {
    return this.left + ((valence + 1) / 2) * (this.right - this.left);
  }

  y(arousal) {
    return this.top + ((1 - arousal) / 2) * (this.bottom - this.top);
  }

  move(time) {
    this.time = time;
    if (!this.now) return;
    const { times_s: times, valence, arousal } = this.data;
    this.now.setAttribute("cx", this.x(at(times, valence, time)));
    this.now.setAttribute("cy", this.y(at(times, arousal, time)));
  }
}
