// What the service is asked for again and again while something moves in it. EventSource could not bring a key along.
import { ask } from "../api.js";
import { useEffect, useState } from "../html.js";

const PAUSE_AFTER_FAULT_MS = 5000;

/**
 * Asks for `path` now, whenever one of `causes` changes, every `everyMs` while `isMoving(answer)`, and after a fault that
 * may pass. Returns the newest answer or null, and what went wrong in words or null.
 */
export function useWatched(path, isMoving, everyMs, causes) {
  const [answer, setAnswer] = useState(null);
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    let timer = null;
    let isWanted = true;
    const look = async () => {
      let pause = null;
      try {
        const found = await ask("GET", path);
        if (!isWanted) return;
        setAnswer(found);
        setProblem(null);
        if (isMoving(found)) pause = everyMs;
      } catch (refusal) {
        if (!isWanted) return;
        setProblem(refusal.message);
        if (refusal.status === 0 || refusal.status >= 500) pause = PAUSE_AFTER_FAULT_MS;
      }
      if (pause !== null) timer = setTimeout(look, pause);
    };
    look();
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
  }, causes);
  return [answer, problem];
}
