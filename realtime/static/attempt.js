// One attempt to buy. Its key is written down before it is sent and kept until the outcome is known, so that a
// reload, a crash or a lost answer ends in the same order and never in two.

import { Refusal, newKey, untilKnown } from "./api.js";
import { forget, recallJson, remember } from "./memory.js";
import { asShopper } from "./shopper.js";

export class Attempt {
  constructor(streamId) {
    this.streamId = streamId;
    this.slot = `se.attempt.${streamId}`;
  }

  pending() {
    return recallJson(this.slot);
  }

  begin(lines) {
    remember(this.slot, JSON.stringify({ key: newKey(), lines }));
  }

  // Resolve to the order, or throw the Refusal that says why there is none. Anything else is repeated.
  async finish(onWait) {
    const { key, lines } = this.pending();
    const send = () =>
      asShopper(
        "POST",
        `/streams/${encodeURIComponent(this.streamId)}/orders`,
        { headers: { "idempotency-key": key }, body: { lines } },
        { make: true },
      );
    try {
      const order = await untilKnown(send, { onWait });
      forget(this.slot);
      return order;
    } catch (error) {
      if (error instanceof Refusal) forget(this.slot);
      throw error;
    }
  }
}

// The newest order of this browser on a stream.
const orderSlot = (streamId) => `se.order.${streamId}`;

// seen: whether the shopper has been shown it. A reload may come between the answer and the picture.
export function keepOrder(streamId, id, seen = false) {
  remember(orderSlot(streamId), JSON.stringify({ id, seen }));
}

export function keptOrder(streamId) {
  return recallJson(orderSlot(streamId));
}

export function dropOrder(streamId) {
  forget(orderSlot(streamId));
}
