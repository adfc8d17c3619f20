"""What the official `openai` package makes of `/v1`. The parts are called by tests/it/developer/openai.rs."""

import os
import sys

import openai
from pydantic import BaseModel

URL = os.environ["AEGIS_URL"] + "/v1"
TOKEN = os.environ["AEGIS_TOKEN"]
client = openai.OpenAI(base_url=URL, api_key=TOKEN, max_retries=0, timeout=60)
QUESTION = {"role": "user", "content": "How long is parental leave?"}
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city, now.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def models():
    listed = [model.id for model in client.models.list()]
    print("models.list:", listed)
    assert len(listed) == 7 and "atlas" in listed, listed
    assert client.models.retrieve("atlas").owned_by == "aegis"
    assert client.models.retrieve("agent:atlas").id == "atlas"


def chat():
    completion = client.chat.completions.create(
        model="atlas",
        messages=[
            {"role": "system", "content": "Answer like a pirate."},
            {"role": "user", "content": "How was the trip?"},
            {"role": "assistant", "content": "It was fine."},
            QUESTION,
        ],
        temperature=0.1,
        max_completion_tokens=200,
        seed=7,
        user="somebody",
    )
    message = completion.choices[0].message
    print("chat.completions:", completion.id, repr(message.content), completion.usage)
    assert message.content == "Parental leave is sixteen weeks. [1]", message
    assert completion.choices[0].finish_reason == "stop"
    cited = message.annotations[0].url_citation
    print("   cites:", cited.title, cited.url)
    assert message.content[cited.start_index : cited.end_index] == "[1]"
    assert "/knowledge/" in cited.url and "#passage-" in cited.url
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 0


def stream():
    text, usage, finish, cited = "", None, None, []
    for chunk in client.chat.completions.create(
        model="agent:atlas", messages=[QUESTION], stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            cited += getattr(choice.delta, "annotations", None) or []
            finish = choice.finish_reason or finish
    print("stream:", repr(text), finish, usage)
    assert text == "Parental leave is sixteen weeks. [1]" and finish == "stop" and usage.total_tokens > 0
    assert cited[0]["url_citation"]["url"].startswith("http"), cited
    chunks = client.chat.completions.create(model="atlas", messages=[QUESTION], stream=True)
    assert all(chunk.usage is None for chunk in chunks)


def embeddings():
    try:
        client.embeddings.create(model="other", input="leave")
        raise AssertionError("there is no such model")
    except openai.NotFoundError as error:
        name = error.message.split("`")[1]
    asked = ["parental leave", "time off for parents", "the boiling point of tin"]
    made = client.embeddings.create(model=name, input=asked)
    vectors = [item.embedding for item in made.data]
    dot = lambda a, b: sum(x * y for x, y in zip(a, b))
    print("embeddings:", made.model, len(vectors[0]), made.usage, round(dot(vectors[0], vectors[1]), 3))
    assert dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2])
    assert abs(dot(vectors[0], vectors[0]) - 1) < 1e-3
    alone = client.embeddings.create(model=name.split("/")[1], input=asked[0], encoding_format="float")
    assert max(abs(a - b) for a, b in zip(alone.data[0].embedding, vectors[0])) < 0.05
    for wrong in [{"input": [1, 2]}, {"input": ""}, {"input": "a", "dimensions": 3}, {"input": []}]:
        try:
            client.embeddings.create(model=name, **wrong)
            raise AssertionError(wrong)
        except openai.BadRequestError as error:
            print("   refused:", error.param, error.message)


def tools():
    offered = [{"type": "function", "function": WEATHER}]
    messages = [{"role": "user", "content": "Where is it warmer, in Oslo or in Rome?"}]
    first = client.chat.completions.create(model="atlas", messages=messages, tools=offered)
    calls = first.choices[0].message.tool_calls
    print("tools:", first.choices[0].finish_reason, [(call.function.name, call.function.arguments) for call in calls])
    assert first.choices[0].finish_reason == "tool_calls" and len(calls) == 2
    messages.append(first.choices[0].message)
    for call, result in zip(calls, ["7 degrees, rain", "21 degrees, sun"]):
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    second = client.chat.completions.create(model="atlas", messages=messages, tools=offered)
    print("   then:", second.choices[0].message.content)
    assert second.choices[0].message.content == "It is 7 degrees in Oslo and 21 in Rome."


def tools_stream():
    offered = [{"type": "function", "function": WEATHER}]
    messages = [{"role": "user", "content": "Where is it warmer?"}]
    with client.chat.completions.stream(model="atlas", messages=messages, tools=offered) as stream:
        final = stream.get_final_completion()
    names = [call.function.arguments for call in final.choices[0].message.tool_calls]
    print("tools, streamed:", final.choices[0].finish_reason, names)
    assert names == ['{"city":"Oslo"}', '{"city":"Rome"}'], names
    one = client.chat.completions.create(
        model="atlas", messages=messages, tools=offered, parallel_tool_calls=False, tool_choice="required"
    )
    assert len(one.choices[0].message.tool_calls) == 1


class Leave(BaseModel):
    weeks: int
    paid: list[int]


def schema():
    parsed = client.chat.completions.parse(model="atlas", messages=[QUESTION], response_format=Leave)
    print("json_schema:", parsed.choices[0].message.parsed)
    assert parsed.choices[0].message.parsed == Leave(weeks=16, paid=[1])


def schema_refused():
    parsed = client.chat.completions.parse(model="atlas", messages=[QUESTION], response_format=Leave)
    print("json_schema, not kept to:", parsed.choices[0].message.refusal)
    assert parsed.choices[0].message.parsed is None and parsed.choices[0].message.refusal


def responses():
    first = client.responses.create(model="atlas", input="How long is parental leave?", instructions="Be brief.")
    part = first.output[0].content[0]
    print("responses:", first.id, first.status, repr(first.output_text), first.usage.total_tokens)
    assert first.output_text == "Parental leave is sixteen weeks. [1]" and first.status == "completed"
    cited = part.annotations[0]
    assert cited.type == "url_citation" and part.text[cited.start_index : cited.end_index] == "[1]"
    kinds, text = [], ""
    events = client.responses.create(
        model="atlas", input="Is it paid?", previous_response_id=first.id, stream=True
    )
    numbers = []
    for event in events:
        numbers.append(event.sequence_number)
        if not kinds or kinds[-1] != event.type:
            kinds.append(event.type)
        if event.type == "response.output_text.delta":
            text += event.delta
        if event.type == "response.completed":
            last = event.response
    print("   stream:", kinds)
    assert kinds[:5] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
    ], kinds
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ], kinds
    assert numbers == list(range(len(numbers))) and last.output_text == text
    try:
        client.responses.create(model="atlas", input="And?", previous_response_id=first.id)
        raise AssertionError("the conversation has gone on")
    except openai.BadRequestError as error:
        print("   refused:", error.code, error.message)
    apart = client.responses.create(model="atlas", input="Hello?", store=False)
    assert apart.store is False
    try:
        client.responses.create(model="atlas", input="And?", previous_response_id=apart.id)
        raise AssertionError("it was not kept")
    except openai.BadRequestError as error:
        assert error.param == "previous_response_id"
    print("newest", last.id)


def responses_after(previous):
    again = client.responses.create(model="atlas", input="Say it again.", previous_response_id=previous)
    print("responses, after a restart:", again.previous_response_id, "→", again.id)
    assert again.previous_response_id == previous and again.output_text


def responses_tools():
    offered = [{"type": "function", **WEATHER, "strict": False}]
    asked = [{"role": "user", "content": "How is the weather in Oslo?"}]
    first = client.responses.create(model="atlas", input=asked, tools=offered)
    call = first.output[0]
    print("responses, tools:", call.type, call.name, call.arguments)
    assert call.type == "function_call" and call.name == "get_weather"
    asked += [call, {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
    with client.responses.stream(model="atlas", input=asked, tools=offered) as stream:
        final = stream.get_final_response()
    print("   then:", final.output_text)
    assert final.output_text == "It rains."


def errors():
    def refused(kind, call, **details):
        try:
            call()
        except kind as error:
            print(f"{kind.__name__}: {error.status_code} {error.type} {error.param} {error.code}: {error.body['message']}")
            for name, value in details.items():
                assert getattr(error, name) == value, (name, getattr(error, name))
            return
        raise AssertionError(f"no {kind.__name__}")

    create = client.chat.completions.create
    other = openai.OpenAI(base_url=URL, api_key="aegis_" + "x" * 43, max_retries=0)
    refused(openai.AuthenticationError, lambda: other.models.list(), code="invalid_api_key")
    embed = lambda: client.embeddings.create(model="any", input="a")
    refused(openai.PermissionDeniedError, embed, code="insufficient_permissions")
    refused(openai.NotFoundError, lambda: create(model="zeus", messages=[QUESTION]), code="model_not_found", param="model")
    refused(openai.NotFoundError, lambda: client.models.retrieve("zeus"), code="model_not_found")
    refused(openai.NotFoundError, lambda: client.files.list())
    picture = [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
    for param, wrong in [
        ("n", {"n": 2}),
        ("messages", {"messages": []}),
        ("messages", {"messages": [{"role": "user", "content": picture}]}),
        ("modalities", {"modalities": ["text", "audio"]}),
        ("temperature", {"temperature": 9}),
        ("max_tokens", {"max_tokens": 0}),
        ("tools", {"tools": [{"type": "web_search"}]}),
        ("tool_choice", {"tool_choice": "required"}),
        ("response_format", {"response_format": {"type": "grammar"}}),
        ("logprobs", {"logprobs": True}),
    ]:
        asked = {"model": "atlas", "messages": [QUESTION], **wrong}
        refused(openai.BadRequestError, lambda: create(**asked), param=param, type="invalid_request_error")
    refused(openai.BadRequestError, lambda: create(model="atlas", messages="hello"))
    long = [{"role": "user", "content": "a" * 9000}]
    refused(openai.APIStatusError, lambda: create(model="atlas", messages=long), code="context_length_exceeded")


def broken():
    text = ""
    try:
        for chunk in client.chat.completions.create(model="atlas", messages=[QUESTION], stream=True):
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
        raise AssertionError("the model broke off")
    except openai.APIError as error:
        print("APIError in the middle:", repr(text), error.message)
        assert text.startswith("It is") and "in the middle" in error.message, error.message


def too_many():
    create = lambda: client.chat.completions.create(model="atlas", messages=[QUESTION], stream=True)
    held = [create() for _ in range(8)]
    try:
        create()
        raise AssertionError("the ninth at once")
    except openai.RateLimitError as error:
        print("RateLimitError:", error.code, error.message, error.response.headers["retry-after"])
        assert error.code == "rate_limit_exceeded" and int(error.response.headers["retry-after"]) > 0
    for stream in held:
        stream.close()


def close():
    stream = client.chat.completions.create(model="atlas", messages=[QUESTION], stream=True)
    got = [next(stream) for _ in range(3)]
    stream.close()
    print("closed after", len(got), "pieces")


def time_out():
    try:
        client.with_options(timeout=8).chat.completions.create(model="atlas", messages=[QUESTION])
        raise AssertionError("it takes longer")
    except openai.APITimeoutError as error:
        print("APITimeoutError:", error)


part, *words = sys.argv[1].split()
globals()[part](*words)
