import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Problem } from "./api/client";
import { makeRouter } from "./router";
import "./design/tokens.css";

const client = new QueryClient({
  defaultOptions: {
    queries: {
      // What the broker refuses it refuses again; a broker that is away comes back.
      retry: (times, error) => times < 4 && error instanceof Problem && (error.status === 0 || error.status >= 500),
      retryDelay: (times) => Math.min(1000 * 2 ** times, 8000),
      refetchOnWindowFocus: false,
    },
  },
});

createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <RouterProvider router={makeRouter(client)} />
    </QueryClientProvider>
  </StrictMode>,
);
