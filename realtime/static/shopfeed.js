// What keeps a shop moving: frames by socket, by server-sent events or by asking, whichever this network lets through;
// and where none of them brings anything, the shop window itself, asked for every ten seconds.

import { shopperToken } from "./shopper.js";
import { storefront, streamTopics } from "./storefront.js";
import { follow } from "./transports.js";

const SILENT_MS = 10_000;
const LOOK_MS = 1000;
// Sponsors' pots run down while people look.
const PROMISES_MS = 15_000;

export class ShopFeed {
  constructor(front, { onFrame, onFront }) {
    Object.assign(this, { streamId: front.id, promises: front.matches.length > 0, onFront });
    this.askedAt = performance.now();
    this.asking = false;
    const topics = [...streamTopics(front.id), `stream/${front.id}/board`];
    this.live = follow("auto", { topics, token: shopperToken, onFrame, hasty: true });
  }

  start() {
    this.startedAt = performance.now();
    this.live.start();
    setInterval(() => this.look(), LOOK_MS);
    return this;
  }

  isSilent() {
    return (this.live.silenceMs() ?? performance.now() - this.startedAt) >= SILENT_MS;
  }

  look() {
    const sinceMs = performance.now() - this.askedAt;
    const due = this.isSilent() ? SILENT_MS : this.promises ? PROMISES_MS : Infinity;
    if (!document.hidden && sinceMs >= due) this.ask();
  }

  async ask() {
    if (this.asking) return;
    this.asking = true;
    this.askedAt = performance.now();
    try {
      const front = await storefront(this.streamId);
      this.promises = front.matches.length > 0;
      // While frames come they are newer than any window.
      this.onFront(front, this.isSilent());
    } catch {
      // The next look, some seconds later, tells.
    } finally {
      this.asking = false;
    }
  }
}
