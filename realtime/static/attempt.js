// One attempt to buy or to give. Its key is written down before it is sent and kept until the outcome is known, so
// that a reload, a crash or a lost answer ends in the same order and never in two.

import { Refusal, newKey, untilKnown } from "./api.js";
import { forget, recallJson, remember } from "./memory.js";
import { asShopper } from "./shopper.js";

export class Attempt {
  // what: "orders" or "donations"
  constructor(streamId, what) {
    this.path = `/streams/${encodeURIComponent(streamId)}/${what}`;
    this.slot = `se.attempt.${what}.${streamId}`;
  }

  pending() {
    return recallJson(this.slot);
  }

  begin(body) {
    remember(this.slot, JSON.stringify({ key: newKey(), body }));
  }

  // Resolve to the order, or throw the Refusal that says why there is none. Anything else is repeated.
  async finish(onWait) {
    const { key, body } = this.pending();
    const send = () => asShopper("POST", this.path, { headers: { "idempotency-key": key }, body }, { make: true });
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
