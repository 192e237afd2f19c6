// A short chime made of sine waves, so that no file has to be loaded: two notes, three for what is larger.

const NOTES_HZ = [880, 1318.5, 1760];
const STEP_S = 0.11;
const RING_S = 0.9;
const LOUD = 0.16;

let audio = null;

function note(hz, at) {
  const wave = audio.createOscillator();
  const loud = audio.createGain();
  wave.frequency.value = hz;
  loud.gain.setValueAtTime(0, at);
  loud.gain.linearRampToValueAtTime(LOUD, at + 0.012);
  loud.gain.exponentialRampToValueAtTime(0.0001, at + RING_S);
  wave.connect(loud).connect(audio.destination);
  wave.start(at);
  wave.stop(at + RING_S);
}

export function chime(rich) {
  audio ??= new AudioContext();
  // Outside OBS a browser may want a click first; then it stays silent, and does not play later what is over.
  if (audio.state !== "running") return void audio.resume().then(() => {});
  const now = audio.currentTime + 0.01;
  NOTES_HZ.slice(0, rich ? 3 : 2).forEach((hz, n) => note(hz, now + n * STEP_S));
}
