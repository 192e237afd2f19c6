// Who asks about an order: the browser that placed it, or whoever holds its secret link. The link's token stays in
// this object and in the address's fragment, which browsers never send.

import { call } from "./api.js";
import { asShopper } from "./shopper.js";

export class OrderAccess {
  constructor(id, token = null) {
    this.id = id;
    this.token = token;
  }

  get isHolder() {
    return this.token !== null;
  }

  ask(method, rest = "", options = {}) {
    const path = `/orders/${encodeURIComponent(this.id)}${rest}`;
    return this.isHolder ? call(method, path, { ...options, token: this.token }) : asShopper(method, path, options);
  }

  read() {
    return this.ask("GET");
  }
}

// "ord_….mac", or null for what is no such token.
export function accessByToken(token) {
  const [id] = token.split(".");
  return /^ord_[0-9a-z]+\.[0-9a-f]+$/.test(token) ? new OrderAccess(id, token) : null;
}
