// Who the shopper is to us: a token in this browser, made when it is first needed. No name, no account.

import { Refusal, call } from "./api.js";
import { forget, recall, remember } from "./memory.js";

const TOKEN = "se.shopper";

export function shopperToken() {
  return recall(TOKEN);
}

async function newToken() {
  const { token } = await call("POST", "/shoppers");
  remember(TOKEN, token);
  return token;
}

// Call as the shopper. A token that is no longer accepted is replaced once, when that cannot lose an order.
export async function asShopper(method, path, options = {}, { make = false } = {}) {
  const token = shopperToken() || (make ? await newToken() : null);
  try {
    return await call(method, path, { ...options, token });
  } catch (error) {
    if (!make || !(error instanceof Refusal) || error.status !== 401) throw error;
    forget(TOKEN);
    return call(method, path, { ...options, token: await newToken() });
  }
}
