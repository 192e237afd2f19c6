// What a Belt shows, for those who want nothing to move: as many pieces as fit stand still for a while, then the next
// ones take their place.

const STAND_MS = 4_500;
const IDLE_MS = 400;

export class Sheet {
  constructor(strip, { along, gap, next, onPassed = () => {} }) {
    Object.assign(this, { strip, along, gap, next, onPassed, timer: null, kept: null });
    strip.classList.add("still");
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
    this.kept = null;
    this.strip.replaceChildren();
  }

  overflows() {
    const { strip } = this;
    return this.along === "x" ? strip.scrollWidth > strip.clientWidth + 1 : strip.scrollHeight > strip.clientHeight + 1;
  }

  feed() {
    const first = this.kept ?? this.next();
    this.kept = null;
    const before = [...this.strip.children];
    this.strip.replaceChildren(...(first ? [first] : []));
    this.timer = setTimeout(() => this.feed(), first ? STAND_MS : IDLE_MS);
    before.forEach((node) => this.onPassed(node));
    if (!first) return;
    for (let node = this.next(); node; node = this.next()) {
      this.strip.append(node);
      if (this.overflows()) {
        node.remove();
        this.kept = node;
        break;
      }
    }
  }
}
