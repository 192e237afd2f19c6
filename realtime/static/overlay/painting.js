// When to paint. Frames of one tick become one painting, never more than fps_cap a second; a source that OBS does not
// show paints once in five seconds, and at once when it comes back. There is one timer, whatever happens.

const HIDDEN_MS = 5_000;
const LATE_MS = 1_000;

export class Painting {
  constructor(paint, fpsCap) {
    Object.assign(this, { paint, leastMs: 1000 / fpsCap, visible: true, timer: null, dueAt: Infinity, paintedAt: -Infinity, count: 0 });
    addEventListener("obsSourceVisibleChanged", ({ detail }) => this.see(detail.visible));
    addEventListener("obsSourceActiveChanged", ({ detail }) => detail.active && this.see(true));
  }

  see(visible) {
    this.visible = visible;
    if (visible) return this.now();
    // What was about to be painted waits as long as everything after it.
    clearTimeout(this.timer);
    this.timer = null;
    this.paintedAt = performance.now();
    return this.soon();
  }

  soon() {
    this.within(0);
  }

  // Paint no later than in this many milliseconds.
  within(ms) {
    const now = performance.now();
    const earliest = this.paintedAt + (this.visible ? this.leastMs : HIDDEN_MS);
    const dueAt = Math.max(now + ms, earliest);
    // A timer that is long overdue (the clock leapt, the machine slept) is set anew instead of being trusted.
    if (this.timer !== null && this.dueAt <= dueAt && now - this.dueAt < LATE_MS) return;
    clearTimeout(this.timer);
    this.dueAt = dueAt;
    this.timer = setTimeout(() => this.now(), Math.max(dueAt - now, 0));
  }

  now() {
    clearTimeout(this.timer);
    this.timer = null;
    this.dueAt = Infinity;
    this.paintedAt = performance.now();
    this.count += 1;
    this.paint();
  }
}
