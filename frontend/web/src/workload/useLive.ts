/** The page's share of the stream: opened with the page, taken in once a frame at most, however much comes. */

import { useCallback, useEffect, useRef, useState } from "react";
import { Problem } from "@/api/client";
import { openStream, type StreamState } from "@/api/stream";
import { EMPTY, KINDS, take, type Live, type News } from "./live";

const LONGEST_PAUSE_MS = 1000;

export interface LiveWorkload {
  live: Live;
  connection: StreamState;
  /** Why the stream is not ours to read. */
  refused: Problem | null;
  /** Take in what was fetched beside the stream. */
  add: (news: News) => void;
}

/** Of one workload: another one needs another page. */
export function useLive(id: number): LiveWorkload {
  const [live, setLive] = useState<Live>(EMPTY);
  const [connection, setConnection] = useState<StreamState>("connecting");
  const [refused, setRefused] = useState<Problem | null>(null);
  const queue = useRef<News[]>([]);
  const frame = useRef(0);
  const timer = useRef(0);
  const began = useRef(0);
  const took = useRef(0);

  // A slow machine draws less often: at least half of its time is left for who uses the page.
  useEffect(() => {
    took.current = performance.now() - began.current;
  }, [live]);

  const add = useCallback((news: News) => {
    queue.current.push(news);
    if (queue.current.length > 1) return;
    const pause = Math.min(LONGEST_PAUSE_MS, began.current + 2 * took.current - performance.now());
    timer.current = window.setTimeout(
      () => {
        frame.current = requestAnimationFrame(() => {
          const news = queue.current;
          queue.current = [];
          began.current = performance.now();
          setLive((before) => take(before, news));
        });
      },
      Math.max(0, pause),
    );
  }, []);

  useEffect(() => {
    const close = openStream(
      `/v1/workloads/${id}/stream`,
      {},
      {
        names: KINDS,
        endsWith: "end",
        onEvent: (kind, data) => add({ kind, data } as News),
        onState: setConnection,
        onRefused: setRefused,
      },
    );
    return () => {
      close();
      window.clearTimeout(timer.current);
      cancelAnimationFrame(frame.current);
      queue.current = [];
    };
  }, [id, add]);

  return { live, connection, refused, add };
}
