// The names to be thanked, in the order they were approved, each handed out once. The newest come with the topic;
// what came before them, or faster than it tells, is read by pages. Few names wait here at any time: the place in
// the list is what is remembered, so a rush of thousands costs a number.

import { Unknown } from "../api.js";

const PAGE = 100;
const WAITING_MAX = 200;
const WAITING_MIN = 20;
const AGAIN_MS = 3_000;

export class Roll {
  // ask(path) → the page's answer; from: null begins with the topic's newest, a number after that name. Without ask, as
  // in a rehearsal, where the pages are of other people, what the topic has is all there is.
  constructor(streamId, ask, from = null) {
    Object.assign(this, { streamId, ask });
    this.last = from;
    this.known = 0;
    this.newest = [];
    this.waiting = [];
    this.reading = false;
    this.notBefore = 0;
  }

  // A frame of topic names. A name that was hidden since is in no newer frame: it leaves the queue as well.
  take({ newest }) {
    this.newest = newest;
    if (!newest.length) return;
    this.known = newest[newest.length - 1].n;
    if (this.last === null) this.last = newest[0].n - 1;
    this.waiting = this.waiting.filter((one) => !this.isGone(one.n));
    this.fill();
  }

  isGone(n) {
    const first = this.newest[0]?.n ?? Infinity;
    return n >= first && n <= this.known && !this.newest.some((one) => one.n === n);
  }

  next() {
    if (this.waiting.length < WAITING_MIN) this.fill();
    return this.waiting.shift() ?? null;
  }

  // Everything that is known of has been handed out.
  isDone() {
    return !this.waiting.length && !this.reading && this.last !== null && this.last >= this.known;
  }

  put(items) {
    for (const { n, name } of items) {
      if (n <= this.last) continue;
      this.last = n;
      this.waiting.push({ n, name });
    }
  }

  fill() {
    if (this.last === null || this.last >= this.known || this.waiting.length > WAITING_MAX - PAGE) return;
    if (this.newest.length && this.newest[0].n <= this.last + 1) this.put(this.newest);
    else if (this.ask) this.read();
    else this.put(this.newest);
  }

  async read() {
    if (this.reading || performance.now() < this.notBefore) return;
    this.reading = true;
    try {
      const { items } = await this.ask(`/streams/${encodeURIComponent(this.streamId)}/names?after=${this.last}&limit=${PAGE}`);
      const before = this.last;
      this.put(items.filter((one) => !this.isGone(one.n)));
      // Nothing more by pages: what the topic has is all there is.
      if (this.last === before) this.put(this.newest);
    } catch (error) {
      if (!(error instanceof Unknown)) throw error;
      this.notBefore = performance.now() + AGAIN_MS;
    } finally {
      this.reading = false;
    }
  }
}
