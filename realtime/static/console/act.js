// Run what a button stands for. The button rests until it is known what became of it, so nothing is sent twice and
// nothing is shown that did not happen; what became of it is said in words beside the button.

import { Refusal, Unknown, newKey } from "../api.js";
import { toast } from "../dialog.js";
import { count, translator } from "../i18n.js";
import { t } from "./words.js";

const w = translator({
  trouble: [
    "No answer from the server: it may have happened, or nothing may have changed. Look before you try again.",
    "服务器未响应：可能已生效，也可能未生效。请核对后再试。",
  ],
  refused: ["Not possible: {detail}", "无法完成：{detail}"],
  illegal_state: ["The stream is {state} now; that does not go with it.", "直播现在是“{state}”状态，无法执行。"],
  nothing_on_offer: ["Put something on sale first.", "请先上架商品。"],
  total_differs: ["The stock is {total} by now. Look, and add again if you still mean it.", "库存现已是 {total}，请核对后再试。"],
  too_many_units: ["That is more units than an offer may have.", "超过单个商品的库存上限。"],
  forbidden: ["Your key may not do this.", "您的密钥无此权限。"],
  unauthorized: ["Your key is no longer valid. Sign in again.", "密钥已失效，请重新登录。"],
  not_found: ["It is not there any more.", "该项已不存在。"],
  invalid: ["The server does not take that value.", "服务器不接受该数值。"],
  too_many_groups: ["A stream has at most ten groups.", "每场直播最多十个分组。"],
  below_sold: ["So many are held or sold already.", "不能低于已预订和已售数量。"],
});
const CODES = new Set([
  "illegal_state",
  "nothing_on_offer",
  "total_differs",
  "too_many_units",
  "forbidden",
  "unauthorized",
  "not_found",
  "invalid",
  "below_sold",
  "too_many_groups",
]);
const STATES = new Set(["draft", "scheduled", "live", "ended", "settled"]);

export function reasonOf(error) {
  if (error instanceof Unknown) return w("trouble");
  if (!CODES.has(error.code)) return w("refused", { detail: error.message });
  const { state, total } = error.body;
  if (error.code === "illegal_state" && !STATES.has(state)) return w("refused", { detail: error.message });
  if (error.code === "total_differs" && total === undefined) return w("refused", { detail: error.message });
  return w("refused", { detail: w(error.code, { state: STATES.has(state) ? t(state) : "", total: count(total ?? 0) }) });
}

// Say something beside a button without moving anything on the page.
export function sayNear(node, text, bad = false) {
  const place = node.isConnected ? node.getBoundingClientRect() : null;
  toast(text, bad);
  if (!place?.width) return;
  const said = document.querySelector(".toast");
  said.classList.add("near");
  const { width, height } = said.getBoundingClientRect();
  const left = Math.max(8, Math.min(place.left, innerWidth - width - 8));
  const below = place.bottom + 8;
  const top = below + height < innerHeight - 8 ? below : Math.max(8, place.top - height - 8);
  said.style.setProperty("left", `${left}px`);
  said.style.setProperty("top", `${top}px`);
}

// Resolves to the answer, or to null where it was refused or is not known.
export async function act(button, work, doneText = () => t("done")) {
  const focused = document.activeElement === button;
  button.disabled = true;
  try {
    const answer = await work();
    const done = doneText(answer);
    if (done) sayNear(button, done);
    return answer ?? {};
  } catch (error) {
    if (!(error instanceof Unknown) && !(error instanceof Refusal)) throw error;
    sayNear(button, reasonOf(error), true);
    return null;
  } finally {
    button.disabled = false;
    if (focused && button.isConnected) button.focus({ preventScroll: true });
  }
}

// A request that must count once: while its outcome is not known, sending the same again is the same request.
const keys = new Map();

export async function sendOnce(api, path, body) {
  const asked = `${path} ${JSON.stringify(body)}`;
  if (!keys.has(asked)) keys.set(asked, newKey());
  try {
    const answer = await api("POST", path, body, { "idempotency-key": keys.get(asked) });
    keys.delete(asked);
    return answer;
  } catch (error) {
    if (error instanceof Refusal) keys.delete(asked);
    throw error;
  }
}
