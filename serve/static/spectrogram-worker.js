// The spectrogram of a whole file, beside the page so that it stays quick.

import { Spectrogram } from "./spectrogram.js";

addEventListener("message", ({ data: { id, samples, rate, seconds } }) => {
  const spectrogram = new Spectrogram(rate, seconds);
  const columns = spectrogram.push(samples);
  // What the last windows lack.
  columns.push(...spectrogram.push(new Float32Array(spectrogram.fourier.size)));
  columns.length = Math.min(columns.length, Math.ceil(samples.length / rate / seconds));
  postMessage({ id, columns });
});
