"""Ask of a page that shows strangers' words, whichever page it is, whether each came whole and is nothing but text.

A page looks at itself after each change, so that nothing has to be told slowly for the sake of the test: what stood in
a place for a hundredth of a second was seen all the same. A place is a selector; ``input @value`` or ``button
@aria-label`` is what stands in a field or in an attribute, and ``p ×2`` has to hold each name twice.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from playwright.async_api import Page

from tests.browser.hostile_names import HOSTILE

# What no page of ours has in its body, or only where it is named: whatever made it was a stranger.
NEVER: Final = (
    *("script", "iframe:not(#preview)", "style", "link", "meta", "base", "object", "embed", "video", "audio", "source"),
    *("marquee", "math", "template", "noscript *", "[srcdoc]", "[action]", "[autofocus]:not(dialog *)"),
    *("[onload]", "[onerror]", "[onfocus]", "[onclick]", "[onmouseover]", "[onbegin]", "[ontoggle]", "[onstart]"),
)  # fmt: skip
READ: Final = """
    const placeOf = (where) => {
        const [, selector, times = 1, what] = /^(.*?)(?: ×(\\d))?(?: @(\\S+))?$/.exec(where);
        return { selector, times: Number(times), what };
    };
    const read = (node, what) => (what === "value" ? node.value : what ? node.getAttribute(what) : node.textContent) ?? "";
    // A field of one line has no line breaks.
    const meant = (text, what) => (what === "value" ? text.replace(/[\\r\\n]/g, "") : text);
    const nodesOf = (where) => [...document.querySelectorAll(placeOf(where).selector)];
    // What holds the words as its text, and so nothing else.
    const holdersOf = (where) => (placeOf(where).what ? [] : nodesOf(where));
    const textsOf = (where) => nodesOf(where).map((node) => meant(read(node, placeOf(where).what), placeOf(where).what));
    const isIn = (text = "", name, { what, times }) => text.split(meant(name, what)).length > times;
"""
# Look at the page after each change of it: what stands in each place, and which elements should not be there.
LOOK: Final = """({ places, never, within, card, still }) => {
    READ
    window.seen = places.map(() => new Set());
    window.wrong = new Set();
    const scopes = within ? () => places.flatMap(holdersOf) : () => [document.body];
    const look = () => {
        places.forEach((where, n) => { for (const text of textsOf(where)) window.seen[n].add(text); });
        for (const scope of scopes()) {
            const first = scope.querySelector(within ?? never);
            if (first) window.wrong.add(`made <${first.tagName}>`);
        }
        if (card) lookAtCard();
    };
    // What ends in dots does so where whatever hides the rest of it ends; the card hides, and shows no dots.
    const endsAt = (node) => {
        for (let one = node; one && !one.matches(".plate, #plate"); one = one.parentElement) {
            const { display, overflowX } = getComputedStyle(one);
            if (overflowX !== "visible" && display !== "inline") return one;
        }
        return node;
    };
    const lookAtCard = () => {
        const node = document.getElementById("card");
        // While it comes in, it moves by a hair.
        if (node.dataset.state !== "shown" || node.getAnimations().length) return;
        const card = node.getBoundingClientRect();
        const root = document.documentElement;
        const inside = card.left >= -1 && card.top >= -1 && card.right <= innerWidth + 1 && card.bottom <= innerHeight + 1;
        if (!inside) window.wrong.add(`card at ${JSON.stringify(card)}`);
        const boxes = still ? places.flatMap(holdersOf).map((one) => [one, endsAt(one).getBoundingClientRect()]) : [];
        const cut = boxes.find(([, { left, right }]) => right > left && (left < card.left - 1 || right > card.right + 1));
        if (cut) window.wrong.add(`cut off by its card: ${cut[0].className} ${Math.round(cut[1].left)}–${Math.round(cut[1].right)} of ${Math.round(card.left)}–${Math.round(card.right)}`);
        if (root.scrollWidth > innerWidth || root.scrollHeight > innerHeight) window.wrong.add(`page of ${root.scrollWidth} × ${root.scrollHeight}`);
    };
    new MutationObserver(look).observe(document, { childList: true, characterData: true, subtree: true });
    look();
}""".replace("READ", READ)
UNSEEN: Final = """({ places, names }) => {
    READ
    return places.flatMap((where, at) => {
        const texts = [...window.seen[at]];
        const isThere = (name) => texts.some((text) => isIn(text, name, placeOf(where)));
        return names.flatMap((name, n) => (isThere(name) ? [] : [[where, n]]));
    });
}""".replace("READ", READ)
# Where many stand at once, each has a place of its own, in the order in which they were told.
UNLISTED: Final = """({ lists, names }) => {
    READ
    return lists.flatMap((where) => {
        const texts = textsOf(where);
        const missing = names.flatMap((name, n) => (isIn(texts[n], name, placeOf(where)) ? [] : [[where, n]]));
        return texts.length === names.length ? missing : [[where, `${texts.length} places`], ...missing];
    });
}""".replace("READ", READ)
MADE: Final = """({ lists, never }) => {
    READ
    const strange = [...document.body.querySelectorAll(never)].map((node) => node.outerHTML.slice(0, 80));
    // A name is text; it may be marked, or kept apart from what stands beside it.
    const inside = lists.flatMap(holdersOf).flatMap((node) => [...node.querySelectorAll(":not(bdi):not(mark)")]);
    const led = [...document.querySelectorAll("[href], [src]")].filter((node) => new URL(node.href?.baseVal ?? node.href ?? node.src).origin !== location.origin);
    return [...strange, ...inside.map((node) => `in a place: ${node.outerHTML.slice(0, 80)}`), ...led.map((node) => `leads to ${node.outerHTML.slice(0, 80)}`)];
}""".replace("READ", READ)


def looking(
    places: Sequence[str],
    never: Sequence[str] = NEVER,
    *,
    within: str | None = None,
    card: bool = False,
    still: bool = True,
) -> str:
    """Return a script that makes a page look at itself from its first words on.

    ``never`` may be nowhere on the page; with ``within``, what that selects may be in none of the places instead.
    ``card``: an overlay's card and page must stay inside of its source, and while nothing rolls by (``still``) each
    place inside of the card.
    """
    told = {
        "places": list(places),
        "never": ", ".join(never),
        "within": within,
        "card": card,
        "still": still,
    }
    return f"addEventListener('DOMContentLoaded', () => ({LOOK})({json.dumps(told)}))"


async def unseen(
    page: Page, places: Sequence[str], names: Sequence[str] = HOSTILE
) -> list[list[Any]]:
    """Return each place with the number of a name that never stood there whole."""
    found: list[list[Any]] = await page.evaluate(
        UNSEEN, {"places": list(places), "names": list(names)}
    )
    return found


async def unlisted(
    page: Page, lists: Sequence[str], names: Sequence[str] = HOSTILE
) -> list[list[Any]]:
    """Return each list with the number of a name that does not stand in its turn there, whole."""
    found: list[list[Any]] = await page.evaluate(
        UNLISTED, {"lists": list(lists), "names": list(names)}
    )
    return found


async def made(page: Page, lists: Sequence[str]) -> list[str]:
    """Return what stands on the page now and must have been made of somebody's words."""
    found: list[str] = await page.evaluate(MADE, {"lists": list(lists), "never": ", ".join(NEVER)})
    return found


async def wrong(page: Page) -> list[str]:
    """Return what the page met that should not be, at any moment."""
    found: list[str] = await page.evaluate("() => [...window.wrong]")
    return found
