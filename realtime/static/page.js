// The frame around every page of people: brand, language switch, and the mark that says the money is not real.

import { call, untilKnown } from "./api.js";
import { el, find, say } from "./dom.js";
import { localeSwitch, translator } from "./i18n.js";

const t = translator({
  test: ["TEST MONEY — nothing real is charged", "测试资金——不会真实扣款"],
  brand: ["Stream Events", "公益直播"],
});

const icon = new URL("./icon.svg", import.meta.url).href;

export async function frame(...extras) {
  const home = el("a", { class: "brand", href: "/" }, el("img", { src: icon, alt: "" }), t("brand"));
  find("top").append(home, ...extras, localeSwitch());
  const meta = await untilKnown(() => call("GET", "/meta"));
  say(find("test"), t("test"));
  find("test").hidden = meta.mode !== "sandbox";
  return meta;
}

export function show(...nodes) {
  find("main").replaceChildren(...nodes);
}

export function emptyState(title, text, ...more) {
  return el("section", { class: "empty" }, el("h1", {}, title), el("p", {}, text), ...more);
}

// The key after # in the address. Pages of people take it out of sight, so that it is never read off a screen.
export function keyOfAddress(storageKey) {
  const given = decodeURIComponent(location.hash.slice(1));
  if (given) {
    sessionStorage.setItem(storageKey, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return given || sessionStorage.getItem(storageKey);
}
