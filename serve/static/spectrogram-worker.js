// Worker that computes the spectrogram of a whole file, so that the page stays responsive.

import { Spectrogram } from "./spectrogram.js";

addEventListener("message", ({ data: { id, samples, rate, seconds } }) => {
  const spectrogram = new Spectrogram(rate, seconds);
  const columns = spectrogram.push(samples);
  // Silence that completes the last windows.
  columns.push(...spectrogram.push(new Float32Array(spectrogram.fourier.size)));
  columns.length = Math.min(columns.length, Math.ceil(samples.length / rate / seconds));
  postMessage({ id, columns });
});
