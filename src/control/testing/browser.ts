/** A person's browser, as far as a form needs one: it keeps the cookie and sends the hidden fields. */
export class Browser {
  readonly #baseUrl: string;
  #cookie = "";
  csrf = "";
  page = "";

  constructor(baseUrl: string) {
    this.#baseUrl = baseUrl;
  }

  async open(path: string): Promise<Response> {
    const response = await fetch(this.#baseUrl + path);
    return await this.#take(response);
  }

  async send(
    fields: Record<string, string>,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const response = await fetch(`${this.#baseUrl}/login`, {
      method: "POST",
      headers: { cookie: this.#cookie, origin: this.#baseUrl, ...headers },
      body: new URLSearchParams({ csrf: this.csrf, action: "approve", ...fields }),
    });
    return await this.#take(response);
  }

  async #take(response: Response): Promise<Response> {
    this.page = await response.text();
    const cookie = response.headers.get("set-cookie");
    if (cookie !== null) this.#cookie = cookie.split(";")[0] ?? "";
    this.csrf = /name="csrf" value="([^"]+)"/.exec(this.page)?.[1] ?? this.csrf;
    return response;
  }
}
