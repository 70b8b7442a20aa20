/** The page's share of the stream: opened with the page, taken in once a frame, however much comes. */

import { useCallback, useEffect, useRef, useState } from "react";
import { Problem } from "@/api/client";
import { openStream, type StreamState } from "@/api/stream";
import { EMPTY, KINDS, take, type Live, type News } from "./live";

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

  const add = useCallback((news: News) => {
    queue.current.push(news);
    if (frame.current !== 0) return;
    frame.current = requestAnimationFrame(() => {
      frame.current = 0;
      const news = queue.current;
      queue.current = [];
      setLive((before) => take(before, news));
    });
  }, []);

  useEffect(() => {
    const close = openStream(`/v1/workloads/${id}/stream`, {}, {
      names: KINDS,
      endsWith: "end",
      onEvent: (kind, data) => add({ kind, data } as News),
      onState: setConnection,
      onRefused: setRefused,
    });
    return () => {
      close();
      cancelAnimationFrame(frame.current);
      frame.current = 0;
      queue.current = [];
    };
  }, [id, add]);

  return { live, connection, refused, add };
}
