// Frames held back for delay_ms, so that a total does not jump on the screen before the viewers of a delayed stream
// saw the purchase. The newest of each moment is what counts, so when many wait, those that a newer one of the same
// topic follows soon are let go: the queue stays small however fast frames come.

const STEP_MS = 100;

export class Held {
  constructor(delayMs, release) {
    Object.assign(this, { delayMs, release, waiting: [], timer: null });
  }

  put(frame) {
    if (!this.delayMs) return this.release(frame);
    const now = performance.now();
    // At the most one frame per topic and step: a newer one takes the place of the one just before it.
    const at = this.waiting.findIndex((one) => one.topic === frame.topic && now - one.heldAt < STEP_MS);
    if (at >= 0) this.waiting[at].frame = frame;
    else this.waiting.push({ topic: frame.topic, heldAt: now, frame });
    this.wind();
  }

  wind() {
    if (this.timer !== null || !this.waiting.length) return;
    const inMs = this.waiting[0].heldAt + this.delayMs - performance.now();
    this.timer = setTimeout(() => this.let(), Math.max(inMs, 0));
  }

  let() {
    this.timer = null;
    const due = performance.now() - this.delayMs + 1;
    while (this.waiting.length && this.waiting[0].heldAt <= due) this.release(this.waiting.shift().frame);
    this.wind();
  }
}
