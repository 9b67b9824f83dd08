// On the audio thread: mix the microphone to mono and post it in blocks.

const BLOCK_SECONDS = 0.1;

class Recorder extends AudioWorkletProcessor {
  block = new Float32Array(Math.round(sampleRate * BLOCK_SECONDS));
  filled = 0;

  process([channels]) {
    const length = channels[0]?.length ?? 0;
    for (let i = 0; i < length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.block[this.filled++] = sum / channels.length;
      if (this.filled === this.block.length) {
        this.port.postMessage(this.block);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
