// The mailbox of test mode: what would have been mailed, for operators to read. Letters are text and stay text; only
// an address of this very server becomes a link.

import { Refusal, call, untilKnown } from "./api.js";
import { el } from "./dom.js";
import { timeAndDay, translator } from "./i18n.js";
import { keyForm } from "./keyform.js";
import { emptyState, frame, keyOfAddress, show } from "./page.js";

const KEY = "se.console";
const LOOK_MS = 4_000;

const t = translator({
  title: ["Mailbox", "邮箱"],
  text: ["In test mode nothing is mailed: the letters end here.", "测试模式下不会真正发送邮件，信件都在这里。"],
  none: ["No letters yet", "暂无信件"],
  noneText: ["Letters come when something was paid, refunded or cancelled.", "付款、退款或取消后会有信件。"],
  to: ["To {to}", "收件人：{to}"],
  more: ["Older letters", "更早的信件"],
  loading: ["Loading…", "加载中…"],
});

const seen = { key: null, newest: undefined, items: [], next: null };

function bodyNodes(text) {
  const own = `${location.origin}/`;
  return text.split(/(https?:\/\/\S+)/).map((part) => (part.startsWith(own) ? el("a", { href: part }, part) : part));
}

function letter(item, open) {
  return el(
    "details",
    { class: "card fold letter", open },
    el("summary", {}, el("span", {}, item.subject)),
    el("p", { class: "soft small" }, `${t("to", { to: item.to })} · ${timeAndDay(item.created_at)}`),
    el("pre", {}, ...bodyNodes(item.body)),
  );
}

function paint() {
  const head = [el("h1", {}, t("title")), el("p", { class: "soft" }, t("text"))];
  if (!seen.items.length) return show(...head, emptyState(t("none"), t("noneText")));
  const more = el("button", { type: "button", class: "quiet wide", onclick: older }, t("more"));
  const letters = seen.items.map((item, index) => letter(item, index === 0));
  return show(...head, ...letters, seen.next ? el("p", { class: "actions" }, more) : "");
}

function page(cursor = "") {
  return untilKnown(() => call("GET", `/mailbox?limit=50${cursor}`, { token: seen.key }));
}

async function older() {
  const answer = await page(`&cursor=${encodeURIComponent(seen.next)}`);
  seen.items.push(...answer.items);
  seen.next = answer.next;
  paint();
}

async function look() {
  if (document.hidden) return;
  const answer = await page();
  const newest = answer.items[0]?.id ?? null;
  if (newest === seen.newest) return;
  Object.assign(seen, { newest, items: answer.items, next: answer.next });
  paint();
}

async function enter(key) {
  seen.key = key;
  show(el("p", { class: "empty" }, t("loading")));
  try {
    await look();
  } catch (error) {
    if (error instanceof Refusal) return ask(true);
    throw error;
  }
  setInterval(() => look().catch(() => {}), LOOK_MS);
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

document.title = t("title");
frame();
const given = keyOfAddress(KEY);
if (given) enter(given);
else ask(false);
