// Moves pieces along a strip at an even pace, one after the other and none twice. Each piece is one animation of
// its transform, so the browser's compositor carries it and no script runs between two pieces. A piece leaves the
// page when it has passed: the strip holds what can be seen of it and no more, however long the night is.

const IDLE_MS = 400;
// A source that nobody saw for a while goes on from where it was, instead of throwing all it missed at once.
const LATE_MS_MAX = 1500;

export class Belt {
  // along: "x" | "y"; speed and gap in rem; next() → a node, or null where there is nothing to show just now.
  constructor(strip, { along, speed, gap, backwards = false, next, onPassed = () => {} }) {
    Object.assign(this, { strip, along, speed, gap, backwards, next, onPassed });
    this.freeAt = 0;
    this.timer = null;
    this.riding = 0;
  }

  start() {
    if (this.timer === null) this.feed();
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = null;
  }

  clear() {
    this.stop();
    this.freeAt = 0;
    this.riding = 0;
    for (const node of [...this.strip.children]) node.remove();
  }

  later(ms) {
    this.timer = setTimeout(() => this.feed(), Math.max(4, ms));
  }

  feed() {
    const now = performance.now();
    if (now < this.freeAt) return this.later(this.freeAt - now);
    this.timer = 0;
    const node = this.next();
    if (this.timer === null) return undefined;
    if (!node) return this.later(IDLE_MS);
    if (now - this.freeAt > LATE_MS_MAX) this.freeAt = now;
    const took = this.send(node, now - this.freeAt);
    this.freeAt += took;
    return this.later(this.freeAt - performance.now());
  }

  // Let a piece in, as far along as if it had come on the dot; returns after how long the next one fits.
  send(node, lateMs) {
    const wide = this.along === "x";
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.strip.append(node);
    const room = wide ? this.strip.clientWidth : this.strip.clientHeight;
    const length = wide ? node.offsetWidth : node.offsetHeight;
    const axis = wide ? "X" : "Y";
    const ends = [`translate${axis}(${room}px)`, `translate${axis}(${-length}px)`];
    if (this.backwards) ends.reverse();
    const pace = (this.speed * rem) / 1000;
    const run = node.animate(
      ends.map((transform) => ({ transform })),
      { duration: (room + length) / pace, easing: "linear", fill: "both" },
    );
    run.currentTime = lateMs;
    this.riding += 1;
    run.onfinish = () => {
      if (!node.isConnected) return;
      node.remove();
      this.riding -= 1;
      this.onPassed(node);
    };
    return (length + this.gap * rem) / pace;
  }
}
