// Colours for code blocks that are over. The highlighter and each language are fetched when they are first needed.
const LANGUAGES = new Set(
  "bash c cpp csharp css diff dockerfile go ini java javascript json kotlin makefile markdown php python r ruby rust shell sql swift typescript xml yaml".split(" "),
);
const OTHER_NAMES = {
  sh: "bash", zsh: "bash", console: "shell", "c++": "cpp", "c#": "csharp", cs: "csharp", docker: "dockerfile", golang: "go",
  toml: "ini", js: "javascript", jsx: "javascript", mjs: "javascript", kt: "kotlin", make: "makefile", md: "markdown",
  py: "python", python3: "python", rb: "ruby", rs: "rust", ts: "typescript", tsx: "typescript", html: "xml", svg: "xml", yml: "yaml",
};
const MAX_CHARS = 50_000; // longer code stays plain: colouring it would stop the page
const PURIFY = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };

let core = null;
const known = new Map();

async function language(name) {
  core ??= import("./vendor/highlight/core.js").then((module) => module.default);
  if (!known.has(name)) {
    known.set(
      name,
      Promise.all([core, import(`./vendor/highlight/${name}.js`)]).then(([hljs, module]) => {
        hljs.registerLanguage(name, module.default);
        return hljs;
      }),
    );
  }
  return known.get(name);
}

export async function highlight(code, asked) {
  const name = OTHER_NAMES[asked.toLowerCase()] ?? asked.toLowerCase();
  if (!LANGUAGES.has(name) || code.textContent.length > MAX_CHARS) return;
  const hljs = await language(name);
  const coloured = hljs.highlight(code.textContent, { language: name, ignoreIllegals: true }).value;
  code.replaceChildren(globalThis.DOMPurify.sanitize(coloured, PURIFY));
}
