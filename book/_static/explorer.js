// The page "A prediction to explore": pieces and models to pick, charts to point at, music to play.
document.addEventListener("DOMContentLoaded", () => {
  const root = document.querySelector(".explorer");
  if (!root) return;
  const { models, tracks } = JSON.parse(root.querySelector("script").textContent);
  const TARGETS = ["valence", "arousal"];
  const FRAME_SECONDS = 0.5;
  const MARGIN = { left: 34, right: 10, top: 8, bottom: 22 };
  const audio = root.querySelector("audio");
  const slider = root.querySelector("input");
  const [pickTrack, pickModel] = root.querySelectorAll("select");
  const charts = Object.fromEntries(
    [...root.querySelectorAll("[data-chart]")].map((chart) => [chart.dataset.chart, chart]),
  );
  const folder = new URL("audio/", document.querySelector("script[src*='explorer.js']").src);
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
  const clip = (value) => Math.min(1, Math.max(-1, value));
  let track, curves, margins, marks;

  for (const [number, { title }] of tracks.entries()) pickTrack.add(new Option(title.split(" (")[0], number));
  for (const name of Object.keys(models)) pickModel.add(new Option(name));

  function svg(name, attributes, parent, text = "") {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return parent.appendChild(element);
  }

  // An empty chart with both axes; x and y turn values into pixels.
  function frame(chart, height, range, ticks, labels) {
    const width = chart.clientWidth;
    chart.replaceChildren();
    const picture = svg("svg", { width, height, role: "img", "aria-label": labels.about }, chart);
    const x = (value) =>
      MARGIN.left + ((value - range[0]) / (range[1] - range[0])) * (width - MARGIN.left - MARGIN.right);
    const y = (value) => MARGIN.top + ((1 - value) / 2) * (height - MARGIN.top - MARGIN.bottom);
    for (const value of [-1, 0, 1]) {
      svg("line", { class: value ? "grid" : "zero", x1: x(range[0]), x2: x(range[1]), y1: y(value), y2: y(value) }, picture);
      svg("text", { x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, picture, value);
    }
    for (const value of ticks) {
      svg("line", { class: value ? "grid" : "zero", x1: x(value), x2: x(value), y1: y(-1), y2: y(1) }, picture);
      const anchor = value === range[1] ? "end" : "middle";
      svg("text", { x: x(value), y: height - 6, "text-anchor": anchor }, picture, value + (value === range[1] ? labels.unit : ""));
    }
    svg("text", { class: "name", x: MARGIN.left + 5, y: MARGIN.top + 13 }, picture, labels.name);
    return { picture, x, y };
  }

  const points = (xs, ys) => xs.map((x, i) => `${x.toFixed(1)},${ys[i].toFixed(1)}`).join(" ");

  function draw() {
    track = tracks[pickTrack.value];
    curves = track.curves[pickModel.value];
    margins = models[pickModel.value].margins;
    const frames = curves.valence.length;
    const times = curves.valence.map((_, i) => (i + 1) * FRAME_SECONDS);
    slider.max = frames - 1;
    slider.value = Math.min(slider.value, frames - 1);
    marks = {};
    for (const target of TARGETS) {
      const end = frames * FRAME_SECONDS;
      const { picture, x, y } = frame(charts[target], 170, [0, end], [0, 1, 2, 3].map((k) => (k * end) / 3), {
        name: target, unit: " s", about: `${target} over time in seconds: predicted, and what the piece was made from`,
      });
      const xs = times.map(x);
      if (target in margins) {
        const edge = (sign) => points(xs, curves[target].map((value) => y(clip(value + sign * margins[target]))));
        const back = edge(-1).split(" ").reverse().join(" ");
        svg("polygon", { class: `band ${target}`, points: `${edge(1)} ${back}` }, picture);
      }
      svg("polyline", { class: "made", points: points(xs, track.made_from[target].map(y)) }, picture);
      svg("polyline", { class: `line ${target}`, points: points(xs, curves[target].map(y)) }, picture);
      const line = svg("line", { class: "now", y1: y(-1), y2: y(1) }, picture);
      marks[target] = (i) => {
        line.setAttribute("x1", xs[i]);
        line.setAttribute("x2", xs[i]);
      };
      charts[target].at = (left) => {
        const where = (left - MARGIN.left) / (charts[target].clientWidth - MARGIN.left - MARGIN.right);
        return Math.round(clip(where) * frames) - 1;
      };
    }
    const size = charts.plane.clientWidth;
    const { picture, x, y } = frame(charts.plane, size, [-1, 1], [-1, 0, 1], {
      name: "arousal ↑", unit: "", about: "The piece's path through the plane of valence and arousal",
    });
    svg("text", { class: "name", x: x(1) - 5, y: y(-1) - 6, "text-anchor": "end" }, picture, "valence →");
    const xs = { made: track.made_from.valence.map(x), line: curves.valence.map(x) };
    const ys = { made: track.made_from.arousal.map(y), line: curves.arousal.map(y) };
    const dots = Object.keys(xs).map((name) => {
      svg("polyline", { class: `path ${name}`, points: points(xs[name], ys[name]) }, picture);
      return [name, svg("circle", { class: `dot ${name}`, r: name === "line" ? 7 : 5 }, picture)];
    });
    marks.plane = (i) => {
      for (const [name, dot] of dots) {
        dot.setAttribute("cx", xs[name][i]);
        dot.setAttribute("cy", ys[name][i]);
      }
    };
    // The nearest moment of the predicted path.
    charts.plane.at = (left, top) => {
      const far = xs.line.map((own, i) => (own - left) ** 2 + (ys.line[i] - top) ** 2);
      return far.indexOf(Math.min(...far));
    };
    const scores = track.scores[pickModel.value];
    const told = TARGETS.map((target) => {
      const { r, covered } = scores[target];
      const inside = covered === undefined ? "" : `, and the band holds ${Math.round(100 * covered)} % of the arc`;
      return `for ${target} r = ${signed(r)}${inside}`;
    });
    root.querySelector(".explorer-note").textContent =
      `Solid: predicted by ${models[pickModel.value].title}${"valence" in margins ? ", with its interval" : ", which has no intervals"}. ` +
      `Dashed: the arcs that the piece was composed from. Over the piece, ${told.join("; ")}.`;
    show(+slider.value);
  }

  function show(i) {
    i = Math.min(Math.max(i, 0), +slider.max);
    for (const mark of Object.values(marks)) mark(i);
    const time = ((i + 1) * FRAME_SECONDS).toFixed(1);
    const values = TARGETS.map((target) => {
      const value = curves[target][i];
      const margin = margins[target];
      const ends = margin ? ` (${signed(clip(value - margin))} to ${signed(clip(value + margin))})` : "";
      return `<dt class="${target}">${target}</dt><dd>${signed(value)}${ends}; made from ${signed(track.made_from[target][i])}</dd>`;
    });
    root.querySelector("dl").innerHTML = `<dt>at</dt><dd>${time} s</dd>${values.join("")}`;
    slider.setAttribute("aria-valuetext", `${time} seconds`);
  }

  function move(i, seek) {
    slider.value = i;
    if (seek) audio.currentTime = i * FRAME_SECONDS;
    show(+slider.value);
  }

  function follow() {
    move(Math.floor(audio.currentTime / FRAME_SECONDS));
    if (!audio.paused) requestAnimationFrame(follow);
  }

  for (const chart of Object.values(charts)) {
    const pointed = ({ clientX, clientY }) => {
      const { left, top } = chart.getBoundingClientRect();
      return Math.max(chart.at(clientX - left, clientY - top), 0);
    };
    chart.addEventListener("pointermove", (event) => show(pointed(event)));
    chart.addEventListener("pointerleave", () => show(+slider.value));
    chart.addEventListener("click", (event) => move(pointed(event), true));
  }
  slider.addEventListener("input", () => move(+slider.value, true));
  audio.addEventListener("play", follow);
  audio.addEventListener("seeked", follow);
  pickModel.addEventListener("change", draw);
  pickTrack.addEventListener("change", () => {
    audio.src = new URL(tracks[pickTrack.value].file, folder);
    slider.value = 0;
    draw();
  });
  root.hidden = false;
  document.documentElement.classList.add("explores"); // the picture is for paper then
  audio.src = new URL(tracks[0].file, folder);
  draw();
  new ResizeObserver(draw).observe(root);
});
