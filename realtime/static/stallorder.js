// What is on stream now stands first, but never by moving something under a finger that is about to tap: a card goes
// up only while nothing in view moves by it, or nobody can be looking.

const RESTING_MS = 800;
const TAPPED = "a, button, summary, input, select, h1, h2";

function inView() {
  const seen = [];
  for (const node of document.querySelectorAll(TAPPED)) {
    const { top, bottom, height } = node.getBoundingClientRect();
    if (height > 0 && bottom > 0 && top < innerHeight && !node.closest(".checkout, .toast")) seen.push([node, top]);
  }
  return seen;
}

export class Order {
  constructor(node) {
    this.node = node;
    this.first = null;
    this.touchedAt = -Infinity;
    // Where it was tried in vain: not again before the view moved.
    this.vain = null;
    this.learn();
    for (const touch of ["pointerdown", "pointermove", "keydown", "scroll", "wheel"]) {
      addEventListener(touch, () => (this.touchedAt = performance.now()), { passive: true, capture: true });
    }
  }

  // The order in which the host put things up.
  learn() {
    const known = this.all ?? [];
    this.all = [...known, ...[...this.node.children].filter((card) => !known.includes(card))];
  }

  arrange(cards) {
    cards.forEach((card, index) => {
      const there = this.node.children[index];
      if (there !== card) this.node.insertBefore(card, there);
    });
  }

  // Bring the first one up if that disturbs nobody; freely: nobody has seen this page yet, or looks away.
  settle(freely = document.hidden) {
    const before = [...this.node.children];
    const wanted = this.all.filter((card) => card !== this.first);
    if (this.first) wanted.unshift(this.first);
    if (wanted.every((card, index) => card === before[index])) return;
    if (freely || !this.node.isConnected) return this.arrange(wanted);
    if (performance.now() - this.touchedAt < RESTING_MS || this.node.contains(document.activeElement)) return;
    if (this.vain?.card === this.first && this.vain.y === scrollY) return;
    const seen = inView();
    const moved = () => seen.map(([node, top]) => node.getBoundingClientRect().top - top);
    this.arrange(wanted);
    const [by = 0] = moved();
    scrollBy({ top: by, behavior: "instant" });
    if (moved().every((off) => Math.abs(off) <= 1)) return;
    this.arrange(before);
    scrollBy({ top: -by, behavior: "instant" });
    this.vain = { card: this.first, y: scrollY };
  }
}
