// The moderators' page: one stream's review, for a phone in one hand, opened by a link with a key of its own.

import { Refusal, call, untilKnown } from "../api.js";
import { act } from "../console/act.js";
import { Shortcuts } from "../console/shortcuts.js";
import { el, find } from "../dom.js";
import { keyForm } from "../keyform.js";
import { Live } from "../live.js";
import { frame, keyOfAddress, show } from "../page.js";
import { ReviewQueue } from "./review.js";
import { t } from "./words.js";

const KEY = "se.moderate";
const view = { live: null, timer: null, shortcuts: null };
const leave = el("button", { type: "button", class: "quiet", hidden: true }, t("leave"));

function close() {
  view.live?.stop();
  view.shortcuts?.stop();
  clearInterval(view.timer);
}

// A moderator's key names its stream. A host or an operator says which, or gets the one that is live.
async function streamOf(me, api) {
  if (me.role === "moderator") return me.stream_id;
  const wanted = new URLSearchParams(location.search).get("stream");
  if (wanted) return wanted;
  const { items } = await untilKnown(() => api("GET", "/streams?limit=100"));
  const own = items.filter((stream) => me.role === "operator" || (stream.host_id ?? stream.host?.id) === me.host_id);
  return (own.find((stream) => stream.state === "live") ?? own[0])?.id;
}

async function enter(key) {
  close();
  show(el("p", { class: "empty" }, t("loading")));
  const api = (method, path, body, headers = {}) => call(method, path, { token: key, body, headers });
  let me = null;
  try {
    me = await untilKnown(() => api("GET", "/me"));
  } catch (error) {
    if (error instanceof Refusal) return ask(true);
    throw error;
  }
  if (!["moderator", "host", "operator"].includes(me.role)) return ask(true);
  const id = await streamOf(me, api);
  if (!id) return ask(true);
  leave.hidden = false;
  const path = (rest = "") => `/streams/${encodeURIComponent(id)}${rest}`;
  const queue = new ReviewQueue({ me, api, path, act });
  view.shortcuts = new Shortcuts(queue.keys()).start();
  show(el("p", { class: "soft" }, t("text")), queue.node, el("p", { class: "keys-row" }, view.shortcuts.button()));
  const topics = [`stream/${id}/review`];
  view.live = new Live({ topics, token: () => key, onFrame: (said) => queue.take("review", said.state) }).start();
  view.timer = setInterval(() => queue.tick(), 1000);
  return queue.look();
}

function ask(refused) {
  sessionStorage.removeItem(KEY);
  show(
    keyForm((key) => {
      sessionStorage.setItem(KEY, key);
      enter(key);
    }, refused),
  );
}

document.title = t("page");
leave.addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  location.reload();
});
frame(leave);
addEventListener("hashchange", () => {
  if (location.hash.length > 1) enter(keyOfAddress(KEY));
});
const given = keyOfAddress(KEY);
if (given) enter(given);
else ask(false);
find("main").tabIndex = -1;
