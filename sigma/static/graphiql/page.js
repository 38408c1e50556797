"use strict";

// Signed in to the admin: nothing to enter. With an API key: put {"Authorization": "Bearer sigma_…"} into
// the Headers tab. The key stays in the tab; it is not kept in the browser's storage.

const EXAMPLE = `# Ctrl-Enter runs this. Not signed in to the admin?
# Put {"Authorization": "Bearer sigma_…"} under Headers first.
{
  tenant { slug name }
  workspaces { id name externalId }
}
`;

function csrfToken() {
  const match = document.cookie.match(/(?:^|; )(?:__Host-)?csrftoken=([^;]+)/);
  return match ? decodeURIComponent(match[1]) : "";
}

async function fetcher(body, options) {
  const headers = {
    "Content-Type": "application/json",
    "X-CSRFToken": csrfToken(),
    ...(options && options.headers),
  };
  const response = await fetch(window.location.pathname, {
    method: "POST",
    credentials: "same-origin",
    headers,
    body: JSON.stringify(body),
  });
  return response.json();
}

ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher,
    defaultQuery: EXAMPLE,
    defaultEditorToolsVisibility: "headers",
    shouldPersistHeaders: false,
  })
);
