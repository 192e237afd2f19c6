// A stream as its shop shows it, and the topics that keep it moving.

import { call } from "./api.js";

export function storefront(streamId) {
  return call("GET", `/streams/${encodeURIComponent(streamId)}/storefront`);
}

export function streamTopics(streamId) {
  return ["tally", "stock", "status"].map((part) => `stream/${streamId}/${part}`);
}
