// Draws each text at once and in pieces, and says what of it should not be there.
async ({texts, seed}) => {
  const base = document.querySelector("script[type=module]").src;
  const { GrowingMarkdown } = await import(new URL("growing.js", base));
  const { dress } = await import(new URL("dress.js", base));
  let state = seed;
  const random = (below) => (state = (state * 1103515245 + 12345) % 2147483648) % below;
  const made = (text, cuts, dressed) => {
    const root = document.createElement("div");
    root.className = "markdown";
    document.querySelector("main").append(root);
    const growing = new GrowingMarkdown(root, dressed ? dress : undefined);
    for (const cut of cuts) growing.update(text.slice(0, cut));
    growing.update(text, true);
    return root;
  };
  const allowed = new Set(
    "a blockquote br button code del div em figcaption figure h1 h2 h3 h4 h5 h6 hr li ol p pre span strong table tbody td th thead tr ul".split(" "),
  );
  const wrong = (root, text) => [...root.querySelectorAll("*")].flatMap((element) => [
    ...(allowed.has(element.localName) ? [] : [`${element.localName} of ${text}`]),
    ...[...element.attributes].filter(({name}) => /^on|^style$|^src|^id$|^name$|^action/.test(name)).map(({name}) => `${name} of ${text}`),
    ...(element.localName === "a" && !/^(https?|mailto):/.test(element.protocol) ? [`${element.href} of ${text}`] : []),
    ...(element.localName === "a" && element.rel !== "noopener noreferrer nofollow" ? [`rel of ${text}`] : []),
  ]);
  const found = [];
  for (const text of texts) {
    const cuts = [];
    for (let at = 0; at < text.length; at += 1 + random(12)) cuts.push(at);
    const dressed = made(text, [], true);
    found.push(...wrong(dressed, text));
    const whole = made(text, [], false);
    const grown = made(text, cuts, false);
    if (whole.innerHTML !== grown.innerHTML) found.push(`grown otherwise: ${text} ::: ${whole.innerHTML} ::: ${grown.innerHTML}`);
    found.push(...wrong(grown, text));
    for (const link of dressed.querySelectorAll("a")) link.dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
    for (const one of [dressed, whole, grown]) one.remove();
  }
  await new Promise((resolve) => setTimeout(resolve));
  return { found, pwned: window.pwned ?? null, title: document.title };
}
