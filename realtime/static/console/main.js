// The host's console: sign in, choose a stream, and hand every frame of it to the panels. What a panel does stands in
// the file of its name; here is only what they share.

import { Refusal, Unknown, call, untilKnown } from "../api.js";
import { el, find } from "../dom.js";
import { apart, named } from "../i18n.js";
import { keyForm } from "../keyform.js";
import { Live } from "../live.js";
import { ReviewQueue } from "../moderate/review.js";
import { OverlayKey } from "../overlaykey.js";
import { emptyState, frame, keyOfAddress, show } from "../page.js";
import { storefront } from "../storefront.js";
import { act, sayNear, sendOnce } from "./act.js";
import { AlertsPanel } from "./alerts.js";
import { AudiencePanel } from "./audience.js";
import { GoalPanel } from "./goal.js";
import { GroupsPanel, groupOf } from "./groups.js";
import { LifePanel } from "./life.js";
import { MatchesPanel } from "./matches.js";
import { MilestonesPanel } from "./milestones.js";
import { ModeratorsPanel } from "./moderators.js";
import { MoneyDesk } from "./moneydesk.js";
import { OffersPanel } from "./offers.js";
import { OnAirPanel } from "./onair.js";
import { ProofPanel } from "./proof.js";
import { QuickBar } from "./quickbar.js";
import { ReadingPanel } from "./reading.js";
import { RehearsalPanel } from "./rehearsal.js";
import { RulesPanel } from "./rules.js";
import { Sections } from "./sections.js";
import { Shortcuts } from "./shortcuts.js";
import { TonightPanel } from "./tonight.js";
import { t } from "./words.js";

const KEY = "se.console";
const SCREEN_MS = 3_000;
const MONEY_MS = 15_000;
const PARTS = ["tally", "tonight", "stock", "status", "board", "milestones", "matches", "review"];

const view = { key: null, me: null, streams: [], live: null, next: null, timers: [], shortcuts: null };
const leaving = el("button", { type: "button", class: "quiet", hidden: true, onclick: leave }, t("leave"));

function api(method, path, body, headers = {}) {
  return call(method, path, { token: view.key, body, headers });
}

// What every panel gets: the stream, its shop window, who is signed in, and how to ask and tell.
function deskOf(stream, front) {
  const path = (rest = "") => `/streams/${encodeURIComponent(stream.id)}${rest}`;
  const once = (to, body) => sendOnce(api, to, body);
  const skip = (group, airing) => api("POST", path(`/alerts/${group}/skip`), { airing });
  return { stream: { ...stream }, front, me: view.me, api, act, path, once, skip, say: sayNear };
}

async function lookAtScreen(desk, panels) {
  try {
    const screen = await api("GET", desk.path("/screen"));
    for (const panel of panels) panel.takeScreen(screen);
  } catch (error) {
    if (!(error instanceof Refusal) && !(error instanceof Unknown)) throw error;
    // The next look, a moment later, tells; meanwhile the age of the last one grows.
  }
}

function panelsOf(desk, onGroups) {
  const { stream } = desk;
  const groups = new GroupsPanel(desk, onGroups);
  return {
    groups,
    quick: new QuickBar(desk),
    life: new LifePanel(desk),
    onAir: new OnAirPanel(desk),
    audience: new AudiencePanel(desk),
    offers: new OffersPanel(desk),
    goal: new GoalPanel(desk),
    milestones: new MilestonesPanel(desk),
    tonight: new TonightPanel(desk),
    matches: new MatchesPanel(desk),
    alerts: new AlertsPanel(desk, groups),
    proof: new ProofPanel(desk),
    reading: new ReadingPanel(desk),
    review: new ReviewQueue(desk),
    money: new MoneyDesk(desk),
    overlay: new OverlayKey(stream, api, act),
    moderators: new ModeratorsPanel(desk),
    rules: new RulesPanel(desk),
    rehearsal: new RehearsalPanel(desk, view.streams),
  };
}

function sectionsOf(panels) {
  const nodes = (...names) => names.map((name) => panels[name].node);
  return new Sections({
    onAir: nodes("onAir", "audience"),
    sale: [panels.life.timers, ...nodes("offers", "goal", "tonight", "milestones", "matches")],
    alerts: nodes("alerts", "proof"),
    words: nodes("reading", "review"),
    money: nodes("money"),
    setup: nodes("overlay", "moderators", "rules", "rehearsal"),
  });
}

function shortcutsOf(panels, sections) {
  const press = (panel, name) => () => panels[panel][name];
  const keys = {
    P: press("quick", "panic"),
    m: press("quick", "mute"),
    s: press("quick", "skip"),
    t: press("alerts", "test"),
    n: () => (panels.reading.items.length ? panels.reading.read : null),
    i: () => (panels.reading.items.length ? panels.reading.keep : null),
    b: () => (panels.reading.items.length ? panels.reading.skip : null),
    "]": () => panels.offers.pinButton(1),
    "[": () => panels.offers.pinButton(-1),
    u: () => panels.offers.pinButton(0),
    ...panels.review.keys(),
  };
  return new Shortcuts(keys, { sections: sections.keys() });
}

function layout(panels, sections, shortcuts) {
  const { nodes } = sections;
  const live = el("div", { class: "live-grid" }, nodes.onAir, nodes.sale, nodes.alerts, nodes.words);
  const rest = el("div", { class: "rest-grid" }, nodes.money, nodes.setup);
  panels.quick.node.append(shortcuts.button());
  show(chooser(), panels.life.node, panels.quick.node, live, rest, sections.nav);
}

function take(said, panels, sections) {
  const part = said.topic.split("/").slice(2).join("/");
  for (const panel of Object.values(panels)) {
    if (panel === panels.money) {
      if (part === "tally") panel.take(said.state);
    } else panel.take?.(part, said.state, said);
  }
  if (part === "review") sections.mark("words", said.state.waiting + said.state.unread);
  if (groupOf(part)) sections.mark("alerts", panels.quick.waitingInAll());
  panels.onAir.tick(view.live);
}

// Groups come and go while the console is open. The line that tells of them too is alive before the old one ends.
function listen(stream, groups, onFrame) {
  const topics = [...PARTS, ...groups.map((name) => `alerts/${name}`)].map((part) => `stream/${stream.id}/${part}`);
  const live = new Live({ topics, token: () => view.key, onFrame, onLink: () => live === view.next && live.link === "live" && change() });
  const change = () => {
    view.live.stop();
    Object.assign(view, { live, next: null });
  };
  view.next?.stop();
  if (view.live?.stopped === false) {
    for (const [topic, age] of view.live.known) if (topics.includes(topic)) live.known.set(topic, age);
    view.next = live.start();
  } else Object.assign(view, { live: live.start(), next: null });
}

function close() {
  view.live?.stop();
  view.next?.stop();
  view.shortcuts?.stop();
  view.timers.forEach(clearInterval);
}

async function openStream(stream) {
  close();
  const front = await untilKnown(() => storefront(stream.id));
  const desk = deskOf(stream, front);
  const panels = panelsOf(desk, (names) => {
    for (const panel of Object.values(panels)) panel.seeGroups?.(names);
    sections.mark("alerts", panels.quick.waitingInAll());
    listen(stream, names, onFrame);
  });
  const sections = sectionsOf(panels);
  const onFrame = (said) => take(said, panels, sections);
  view.stream = stream;
  view.shortcuts = shortcutsOf(panels, sections).start();
  layout(panels, sections, view.shortcuts);
  listen(stream, panels.groups.names, onFrame);
  const looks = [panels.onAir, panels.audience];
  const ticking = Object.values(panels).filter((panel) => panel.tick && panel !== panels.onAir);
  const tick = () => {
    panels.onAir.tick(view.live);
    for (const panel of ticking) panel.tick();
  };
  tick();
  lookAtScreen(desk, looks);
  panels.money.look();
  panels.reading.look();
  panels.review.look();
  panels.groups.look();
  view.timers = [
    setInterval(() => panels.money.look(), MONEY_MS),
    setInterval(() => panels.groups.look(), MONEY_MS),
    setInterval(tick, 1000),
    setInterval(() => lookAtScreen(desk, looks), SCREEN_MS),
  ];
}

function chooser() {
  if (view.streams.length < 2) return "";
  const select = el(
    "select",
    { onchange: () => openStream(view.streams.find((stream) => stream.id === select.value)) },
    ...view.streams.map((stream) =>
      el("option", { value: stream.id, selected: stream.id === view.stream.id }, `${apart(named(stream, "title"))} — ${t(stream.state)}`),
    ),
  );
  return el("label", { class: "chooser" }, t("choose"), select);
}

async function ownStreams() {
  const streams = [];
  let cursor = "";
  for (let page = 0; page < 20; page += 1) {
    const answer = await untilKnown(() => api("GET", `/streams?limit=100${cursor}`));
    streams.push(...answer.items);
    if (!answer.next) break;
    cursor = `&cursor=${encodeURIComponent(answer.next)}`;
  }
  return streams;
}

async function enter(key) {
  view.key = key;
  show(el("p", { class: "empty" }, t("loading")));
  try {
    view.me = await untilKnown(() => api("GET", "/me"));
  } catch (error) {
    if (error instanceof Refusal) return ask(true);
    throw error;
  }
  const { role, host_id: hostId } = view.me;
  if (role !== "host" && role !== "operator") return ask(true);
  const all = await ownStreams();
  view.streams = role === "host" ? all.filter((stream) => (stream.host_id ?? stream.host?.id) === hostId) : all;
  const first = view.streams.find((stream) => stream.state === "live") ?? view.streams[0];
  leaving.hidden = false;
  return first ? openStream(first) : show(emptyState(t("none"), t("noneText")));
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

function leave() {
  sessionStorage.removeItem(KEY);
  location.reload();
}

document.title = t("title");
frame(leaving);
addEventListener("hashchange", () => {
  if (location.hash.length > 1) enter(keyOfAddress(KEY));
});
const given = keyOfAddress(KEY);
if (given) enter(given);
else ask(false);
find("main").tabIndex = -1;
