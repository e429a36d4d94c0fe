%% SPDX-License-Identifier: Apache-2.0
%% @doc The functions of the option `hooks': what they are shown, and what becomes of what they
%% return.
%%
%% Runs in: the connection process, for `hornbeam_request_hooks_stream'. No state; a hook that
%% crashes, or returns what cannot be used, is logged here and is `failed' for the caller.
-module(hornbeam_request_hooks).

-export([view/1, request/3, response/4, error/3]).
-export_type([hooks/0, request/0, response/0, failure/0, answer/0]).

-import(hornbeam_edge_syntax, [is_field_name/1, is_field_value/1]).

-include_lib("kernel/include/logger.hrl").

-type hooks() :: #{
    on_request => fun((request()) -> request() | answer()),
    on_response => fun((response()) -> response()),
    on_error => fun((failure(), request()) -> answer() | term())
}.

%% A request as hooks see it. on_request may change the first four, and add keys of its own, which
%% the other hooks find again. Lengths and transfer codings in the headers stay as they are, and
%% HEAD is neither made nor unmade.
-type request() :: #{
    method := binary(),
    %% As received, percent-encoded.
    path := binary(),
    %% Without the question mark.
    query := binary(),
    %% Lower-case names.
    headers := #{binary() => iodata()},
    version := cowboy:http_version(),
    scheme := binary(),
    host := binary(),
    port := inet:port_number(),
    peer := {inet:ip_address(), inet:port_number()} | {local, term()},
    _ => _
}.

%% A response as on_response sees it, and may return it. `body' is there when it is whole; a
%% response that streams passes with its head alone, and stays one with a body or without.
-type response() :: #{
    status := 200..999,
    headers := #{binary() => iodata() | [binary()]},
    body => iodata(),
    request := request(),
    _ => _
}.

%% What failed. `text' has the traceback of the application where there is one.
-type failure() :: #{
    reason := app_failed | worker_gone | timeout | queue_full | queue_timeout,
    %% What the client is answered without a hook, undefined when its answer is under way already.
    status := 500..504 | undefined,
    text := binary()
}.

-type answer() ::
    {200..599, Body :: iodata()}
    | {200..599, Headers :: #{binary() => iodata()}, Body :: iodata()}.

-define(CHANGEABLE, [method, path, query, headers]).
-define(FRAMING, [<<"content-length">>, <<"transfer-encoding">>, <<"expect">>]).

%% @doc The request as the hooks see it first.
-spec view(cowboy_req:req()) -> request().
view(#{qs := Query} = Req) ->
    View = maps:with([method, path, headers, version, scheme, host, port, peer], Req),
    View#{query => Query}.

%% @doc What on_request makes of a request: the request to go on with and how hooks see it from now
%% on, or the answer to refuse it with. `Check' says what the edge thinks of a changed request.
-spec request(hooks(), cowboy_req:req(), Check) ->
    {ok, cowboy_req:req(), request()}
    | {refuse, 200..599, cowboy:http_headers(), iodata()}
    | failed
when
    Check :: fun((cowboy_req:req()) -> hornbeam_edge:verdict()).
request(#{on_request := Hook}, Req, Check) ->
    View = view(Req),
    guarded(on_request, fun() -> decided(Hook(View), View, Req, Check) end);
request(_, Req, _) ->
    {ok, Req, view(Req)}.

decided(View, View, Req, _) ->
    {ok, Req, View};
decided(#{} = Changed, View, Req, Check) ->
    #{method := Method, path := Path, query := Query, headers := Headers} = Changed,
    ok = unchanged(Changed, View),
    ok = same_kind(Method, maps:get(method, Req)),
    Framing = maps:with(?FRAMING, maps:get(headers, Req)),
    Sendable = maps:merge(maps:without(?FRAMING, flat(Headers)), Framing),
    New = Req#{method := Method, path := Path, qs := Query, headers := Sendable},
    ok = Check(New),
    {ok, New, Changed};
decided(Answer, _, _, _) ->
    {Status, Headers, Body} = answer(Answer),
    {refuse, Status, Headers, Body}.

unchanged(Changed, View) ->
    Fixed = maps:without(?CHANGEABLE, View),
    case maps:with(maps:keys(Fixed), Changed) of
        Fixed -> ok;
        _ -> erlang:error(changed_what_is_fixed)
    end.

%% Whether a response has a body hangs on it.
same_kind(<<"HEAD">>, <<"HEAD">>) -> ok;
same_kind(Method, Before) when Method =/= <<"HEAD">>, Before =/= <<"HEAD">> -> ok.

%% @doc What on_response makes of a response. `Body' is `streamed' when it follows in pieces.
-spec response(hooks(), 200..999, {cowboy:http_headers(), Body}, request()) ->
    {ok, 200..999, cowboy:http_headers(), Body} | failed
when
    Body :: iodata() | streamed.
response(#{on_response := Hook}, Status, {Headers, Body}, Request) ->
    Seen = with_body(Body, #{status => Status, headers => Headers, request => Request}),
    guarded(on_response, fun() -> changed(Hook(Seen), Seen, Body) end);
response(_, Status, {Headers, Body}, _) ->
    {ok, Status, Headers, Body}.

with_body(streamed, Seen) -> Seen;
with_body(Body, Seen) -> Seen#{body => Body}.

changed(Seen, #{status := Status, headers := Headers} = Seen, Body) ->
    {ok, Status, Headers, Body};
changed(#{status := Status, headers := Headers}, #{status := Before}, streamed) ->
    true = has_body(Status) =:= has_body(Before),
    {ok, status(Status), sendable(Headers), streamed};
changed(#{status := Status, headers := Headers} = New, #{headers := Old}, Body) ->
    NewBody = iolist_to_binary(maps:get(body, New, Body)),
    {ok, status(Status), sized(NewBody, Body, sendable(Headers), Old), NewBody}.

has_body(Status) -> Status =/= 204 andalso Status =/= 304.

%% A length that the hook left standing belongs to the body before.
sized(Body, Before, Headers, _) when Body =:= Before ->
    Headers;
sized(_, _, #{<<"content-length">> := Length} = Headers, #{<<"content-length">> := Length}) ->
    maps:remove(<<"content-length">>, Headers);
sized(_, _, Headers, _) ->
    Headers.

status(Status) when is_integer(Status), Status >= 200, Status =< 999 -> Status.

%% @doc What on_error answers in place of the node; `none' when it leaves the answer as it is.
-spec error(hooks(), failure(), request()) ->
    {ok, 200..599, cowboy:http_headers(), iodata()} | none.
error(#{on_error := Hook}, Failure, Request) ->
    case guarded(on_error, fun() -> corrected(Hook(Failure, Request)) end) of
        failed -> none;
        Outcome -> Outcome
    end;
error(_, _, _) ->
    none.

corrected(Answer) when
    is_tuple(Answer), tuple_size(Answer) >= 2, is_integer(element(1, Answer))
->
    {Status, Headers, Body} = answer(Answer),
    {ok, Status, Headers, Body};
corrected(_) ->
    none.

answer({Status, Body}) ->
    answer({Status, #{<<"content-type">> => <<"text/plain; charset=utf-8">>}, Body});
answer({Status, Headers, Body}) when is_map(Headers) ->
    {status(Status), sendable(Headers), unicode_or_bytes(Body)}.

%% A string of Erlang is text.
unicode_or_bytes(Body) ->
    try
        iolist_to_binary(Body)
    catch
        error:badarg ->
            <<_/binary>> = unicode:characters_to_binary(Body)
    end.

flat(Headers) ->
    maps:map(
        fun(Name, Value) ->
            true = is_field_name(Name),
            iolist_to_binary(Value)
        end,
        Headers
    ).

%% Nothing that splits a response is sent, whoever made it.
sendable(Headers) ->
    maps:map(fun field/2, Headers).

field(<<"set-cookie">>, [First | _] = Values) when is_binary(First) ->
    true = lists:all(fun hornbeam_edge_syntax:is_field_value/1, Values),
    Values;
field(Name, Value) ->
    true = is_field_name(Name),
    Flat = iolist_to_binary(Value),
    true = is_field_value(Flat),
    Flat.

guarded(Name, Fun) ->
    try
        Fun()
    catch
        Class:Reason:Stack ->
            ?LOG_ERROR(
                #{what => hook_failed, hook => Name, class => Class, reason => Reason,
                    stacktrace => Stack},
                #{domain => [hornbeam, hooks]}
            ),
            failed
    end.
