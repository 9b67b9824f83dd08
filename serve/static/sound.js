// Audio in the browser: spectrograms of files, the microphone, and WAV files.

const ANALYSIS_RATE = 16_000; // The spectrogram ends at half of it.
const MAX_COLUMNS = 1600;
const MIN_COLUMN_SECONDS = 0.025;

let worker;
let lastId = 0;

/** Spectrogram of a file: `{ seconds, columns, duration }`. Fails if the browser cannot decode it. */
export async function spectrogramOf(file) {
  const context = new OfflineAudioContext(1, 1, ANALYSIS_RATE);
  const buffer = await context.decodeAudioData(await file.arrayBuffer());
  const samples = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const values = buffer.getChannelData(channel);
    for (let i = 0; i < samples.length; i++) samples[i] += values[i] / buffer.numberOfChannels;
  }
  const seconds = Math.max(MIN_COLUMN_SECONDS, buffer.duration / MAX_COLUMNS);
  worker ??= new Worker(new URL("spectrogram-worker.js", import.meta.url), { type: "module" });
  const id = ++lastId;
  const columns = await new Promise((resolve, reject) => {
    const onMessage = ({ data }) => {
      if (data.id !== id) return;
      worker.removeEventListener("message", onMessage);
      resolve(data.columns);
    };
    worker.addEventListener("message", onMessage);
    worker.addEventListener("error", reject, { once: true });
    worker.postMessage({ id, samples, rate: ANALYSIS_RATE, seconds }, [samples.buffer]);
  });
  return { seconds, columns, duration: buffer.duration };
}

/** Pass the microphone's samples, mono, to `onSamples` until `stop` is called. */
export async function openMicrophone(onSamples, onEnd) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("Browsers open the microphone only to pages on https or on this machine.");
  }
  let stream;
  try {
    // These filters are made for speech and would change music.
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
  } catch (error) {
    throw new Error(
      {
        NotAllowedError: "The browser is not allowed to use it. Allow it next to the address, then try again.",
        NotFoundError: "There is no microphone on this device.",
        NotReadableError: "Another program is using it.",
      }[error.name] ?? error.message,
    );
  }
  const context = new AudioContext();
  await context.audioWorklet.addModule(new URL("recorder.js", import.meta.url));
  const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  recorder.port.onmessage = ({ data }) => onSamples(data);
  context.createMediaStreamSource(stream).connect(recorder);
  stream.getAudioTracks()[0].addEventListener("ended", onEnd); // Unplugged, or permission withdrawn.
  return {
    rate: context.sampleRate,
    async stop() {
      recorder.port.onmessage = null;
      for (const track of stream.getTracks()) track.stop();
      await context.close();
    },
  };
}

/** Convert floats to 16-bit integers with the scale that the service expects. */
export const toPcm = (samples) =>
  Int16Array.from(samples, (value) => Math.max(-32768, Math.min(32767, Math.round(value * 32768))));

/** Make a WAV file of 16-bit mono blocks. */
export function wav(blocks, rate, name) {
  const bytes = 2 * blocks.reduce((sum, block) => sum + block.length, 0);
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, i) => head.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  head.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true); // PCM
  head.setUint16(22, 1, true); // mono
  head.setUint32(24, rate, true);
  head.setUint32(28, 2 * rate, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  text(36, "data");
  head.setUint32(40, bytes, true);
  return new File([head, ...blocks], name, { type: "audio/wav" });
}
