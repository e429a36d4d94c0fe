%% SPDX-License-Identifier: Apache-2.0
%% @doc HTTP requests of every version, from Cowboy to a worker and back: a `cowboy_stream' handler.
%%
%% Runs in the connection process and never waits there. It is the only stream handler of its
%% listener. A request is `gathering' its body, `waiting' for the head of the answer, then
%% `streaming'; `closed' streams ignore what is still under way. Workers and the queue send
%% `{{ConnectionProcess, StreamID}, {hornbeam, WorkerPid, ExchangeId, Event}}'.
-module(hornbeam_stream).
-behaviour(cowboy_stream).

-export([init/3, data/4, info/3, terminate/3, early_error/5]).
-export_type([edge/0]).

%% What the listener passes in Cowboy's options under `hornbeam'.
-type edge() :: #{
    pool := hornbeam_pool:pool(),
    limits := hornbeam_edge:limits(),
    %% Bodies up to this size are gathered before a worker is chosen; bytes.
    body_buffer := non_neg_integer(),
    max_body := non_neg_integer() | infinity,
    %% How long the client may pause within a body; milliseconds.
    body_timeout := timeout(),
    %% Bytes of a response that may be under way between worker and client.
    response_window := pos_integer(),
    %% How long a connection may idle after this request; milliseconds.
    keepalive := non_neg_integer(),
    %% Streams that an HTTP/2 connection may have open.
    max_streams := pos_integer(),
    %% What it is called in tables, and the scheme of its URLs.
    name := hornbeam_pool:name(),
    scheme := binary(),
    %% For hornbeam_request_hooks_stream, which comes before this handler when there are any.
    hooks => hornbeam_request_hooks:hooks()
}.

-record(stream, {
    to :: hornbeam_exchanges:to(),
    edge :: edge(),
    req :: cowboy_req:req(),
    context :: hornbeam_response:context(),
    phase = gathering :: gathering | waiting | streaming | closed,
    %% bytes of the request body so far, and those no worker has yet, newest first
    received = 0 :: non_neg_integer(),
    pending = [] :: [binary()],
    pending_size = 0 :: non_neg_integer(),
    %% bytes that Cowboy still reads of its own accord; at or below 0 it has stopped
    flow = 0 :: integer(),
    body_done = false :: boolean(),
    %% no worker is owed any more of it
    body_sent = false :: boolean(),
    %% when the last bytes of the body came; a timer looks at it now and then
    body_seen = 0 :: integer(),
    timer = undefined :: undefined | reference(),
    %% the worker process and the exchange, as soon as they are known
    worker = undefined :: undefined | pid(),
    exchange = 0 :: non_neg_integer(),
    %% bytes of the body the worker takes
    body_credit = 0 :: non_neg_integer(),
    %% bytes of the response the worker is owed; whether a message to ourselves will grant them
    owed = 0 :: non_neg_integer(),
    granting = false :: boolean(),
    %% HTTP/2: Cowboy's buffers that are full; nothing is granted meanwhile
    full = [] :: [atom()],
    has_body = true :: boolean()
}).

%% Bytes of a streamed body that are read before the worker has asked for them: a client that is
%% not slow need not stop whenever the worker does.
-define(READ_AHEAD, 262144).

%%% Cowboy's callbacks

-spec init(cowboy_stream:streamid(), cowboy_req:req(), cowboy:opts()) ->
    {cowboy_stream:commands(), #stream{} | refused}.
init(StreamID, #{headers := #{<<"http2-settings">> := _}} = Req, #{hornbeam := Edge} = Opts) ->
    case hornbeam_connection:refused_upgrade(Req, maps:get(pool, Edge)) of
        true -> {[], refused};
        false -> start(StreamID, Req, Opts)
    end;
init(StreamID, Req, Opts) ->
    start(StreamID, Req, Opts).

start(StreamID, Req, #{hornbeam := #{pool := Pool} = Edge}) ->
    #{method := Method, version := Version} = Req,
    Context = #{
        method => Method,
        version => Version,
        close => hornbeam_pool:is_draining(Pool),
        keepalive => maps:get(keepalive, Edge)
    },
    Stream = #stream{to = {self(), StreamID}, edge = Edge, req = Req, context = Context},
    ok = hornbeam_pool:opened(Pool),
    case hornbeam_http1_turn:is_cut() orelse hornbeam_request:admit(StreamID, Req, Edge) of
        ok -> accepted(Req, Stream);
        {refuse, Status, Reason} -> refuse(Status, Reason, Stream);
        true -> {[], Stream#stream{phase = closed}}
    end.

accepted(#{has_body := false}, Stream) ->
    dispatch(<<>>, Stream#stream{body_done = true});
accepted(#{body_length := undefined, version := Version, streamid := Id} = Req, Stream) when
    Version =/= 'HTTP/2', not is_map_key(hornbeam_body, Req)
->
    %% Cowboy's decoder is lax and leaves trailers in the buffer, where it takes them for a request.
    case hornbeam_http1_turn:take_over(Id) of
        now ->
            {[{switch_protocol, #{}, hornbeam_http1_chunked, {Id, Req, ?MODULE}}], Stream};
        never ->
            refuse(411, <<"a chunked request cannot be pipelined behind another one">>, Stream)
    end;
accepted(#{body_length := Length} = Req, #stream{edge = #{body_buffer := Buffer}} = Stream0) ->
    {Continue, Stream} = {continue(Req), await_body(Stream0)},
    %% Over HTTP/1 such a body was taken over above.
    _ = Length =:= undefined andalso not is_map_key(hornbeam_body, Req) andalso
        hornbeam_http2_end:watch(Stream#stream.to),
    case is_integer(Length) andalso Length > Buffer of
        true -> prepend(Continue, read_on(dispatch({<<>>, Length}, Stream)));
        false -> {Continue, Stream}
    end.

continue(#{headers := #{<<"expect">> := _}}) -> [{inform, 100, #{}}];
continue(_) -> [].

prepend(Commands, {More, Stream}) -> {Commands ++ More, Stream}.

-spec data(cowboy_stream:streamid(), cowboy_stream:fin(), binary(), #stream{} | refused) ->
    {cowboy_stream:commands(), #stream{} | refused}.
data(_, _, _, refused) ->
    {[], refused};
data(_, _, _, #stream{phase = closed} = Stream) ->
    {[], Stream};
data(_, Fin, Data, #stream{received = Before, pending = Pending, edge = Edge} = Stream0) ->
    Size = byte_size(Data),
    #stream{req = #{body_length := Length}} = Stream0,
    Stream = Stream0#stream{
        received = Before + Size,
        pending = [Data | Pending],
        pending_size = Stream0#stream.pending_size + Size,
        flow = Stream0#stream.flow - Size,
        %% Cowboy tells of no end where trailers end an HTTP/2 body.
        body_done = Fin =:= fin orelse Before + Size =:= Length,
        body_seen = now_ms()
    },
    case Before + Size > maps:get(max_body, Edge) of
        true -> too_large(Stream);
        false -> more_body(Stream)
    end.

%% `infinity' is above every number.
too_large(Stream) ->
    broken_off({refuse, 413, <<"the body is larger than max_body">>}, Stream).

more_body(#stream{phase = gathering, body_done = true} = Stream0) ->
    {Body, Stream} = take_pending(Stream0),
    dispatch(Body, Stream);
more_body(#stream{phase = gathering, received = Received, edge = Edge} = Stream0) ->
    case Received > maps:get(body_buffer, Edge) of
        true ->
            #stream{req = #{body_length := Length}} = Stream0,
            {First, Stream} = take_pending(Stream0),
            read_on(dispatch({First, Length}, Stream));
        false ->
            %% Bounded by body_buffer: what is pending does not count.
            {Commands, Stream} = read_on({[], Stream0#stream{pending_size = 0}}),
            {Commands, Stream#stream{pending_size = Received}}
    end;
more_body(Stream) ->
    read_on(forward_body(Stream)).

take_pending(#stream{pending = Pending} = Stream) ->
    {body(Pending), Stream#stream{pending = [], pending_size = 0}}.

%% Let Cowboy read again when there is room for a good part of the read-ahead. Cowboy forgets by
%% how much it read too much, we do not.
read_on({Commands, #stream{body_done = true} = Stream}) ->
    {Commands, Stream};
read_on({Commands, #stream{pending_size = Pending, flow = Flow} = Stream}) ->
    case ?READ_AHEAD - Pending - max(0, Flow) of
        Room when Room * 2 >= ?READ_AHEAD ->
            {Commands ++ [{flow, Room}], Stream#stream{flow = max(0, Flow) + Room}};
        _ ->
            {Commands, Stream}
    end.

body([]) -> <<>>;
body([Data]) -> Data;
body(Pending) -> iolist_to_binary(lists:reverse(Pending)).

-spec info(cowboy_stream:streamid(), term(), #stream{} | refused) ->
    {cowboy_stream:commands(), #stream{} | refused}.
info(_, _, refused) ->
    {[], refused};
info(_, {hornbeam, Worker, Id, Event}, #stream{phase = Phase} = Stream) when Phase =/= closed ->
    event(Event, Stream#stream{worker = Worker, exchange = Id});
info(_, sent, Stream) ->
    {[], grant(Stream)};
info(_, body_ended, #stream{body_done = true} = Stream) ->
    {[], Stream};
info(StreamID, body_ended, Stream) ->
    data(StreamID, fin, <<>>, Stream);
info(_, {alarm, Buffer, on}, #stream{full = Full} = Stream) ->
    {[], Stream#stream{full = [Buffer | Full]}};
info(_, {alarm, Buffer, off}, #stream{full = Full, granting = Granting} = Stream0) ->
    Stream = Stream0#stream{full = lists:delete(Buffer, Full)},
    case Granting of
        true -> {[], Stream};
        false -> {[], grant(Stream)}
    end;
info(_, body_deadline, Stream) ->
    body_deadline(Stream#stream{timer = undefined});
info(_, {inform, 101, _}, Stream) ->
    %% Cowboy announces the takeover by hornbeam_http1_chunked; the client must not hear of it.
    {[], Stream};
info(_, {response, _, _, _} = Response, #stream{phase = Phase} = Stream) when Phase =/= streaming ->
    %% Cowboy ends a stream that answered nothing.
    {[Response], Stream#stream{phase = closed}};
info(_, _, Stream) ->
    {[], Stream}.

-spec terminate(cowboy_stream:streamid(), cowboy_stream:reason(), #stream{} | refused) -> ok.
terminate(_, _, refused) ->
    ok;
terminate(_, switch_protocol, #stream{edge = #{pool := Pool}}) ->
    hornbeam_pool:closed(Pool);
terminate(StreamID, Reason, #stream{edge = #{pool := Pool}, timer = Timer} = Stream) ->
    ok = ended(StreamID, Reason, Stream),
    ok = forget_messages(Timer, Stream),
    cancel(<<"client_gone">>, Stream),
    hornbeam_pool:closed(Pool).

ended(_, Reason, #stream{context = #{version := 'HTTP/2', keepalive := Keepalive}}) ->
    hornbeam_http2_streams:ended(Reason, Keepalive);
ended(StreamID, _, _) ->
    hornbeam_http1_turn:ended(StreamID).

%% What we sent to ourselves would be for a stream that Cowboy does not know any more.
forget_messages(Timer, #stream{to = To, granting = Granting}) ->
    _ = Timer =/= undefined andalso erlang:cancel_timer(Timer) =:= false andalso
        receive
            {To, body_deadline} -> ok
        after 0 -> ok
        end,
    _ = Granting andalso
        receive
            {To, sent} -> ok
        after 0 -> ok
        end,
    ok.

-spec early_error(
    cowboy_stream:streamid(),
    cowboy_stream:reason(),
    cowboy_stream:partial_req(),
    Resp,
    cowboy:opts()
) -> Resp when Resp :: cowboy_stream:resp_command().
early_error(_, Reason, Partial, Response, _) ->
    hornbeam_response:early(Reason, Partial, Response).

%%% Requests out

dispatch(Body, #stream{to = To, req = Req, edge = #{pool := Pool}} = Stream0) ->
    Stream = Stream0#stream{phase = waiting, body_sent = is_binary(Body)},
    Request = hornbeam_request:encode(Req, Body),
    case hornbeam_pool:queued(Pool) =:= 0 andalso hornbeam_pool:claim(Pool) of
        {ok, Index} ->
            Worker = hornbeam_pool:worker(Index, Pool),
            ok = hornbeam_worker:open(Worker, To, Request),
            {[], Stream#stream{worker = Worker}};
        _ ->
            enqueue(Request, Stream)
    end.

enqueue(Request, #stream{to = To, edge = #{pool := Pool}} = Stream) ->
    case hornbeam_queue:enqueue(To, Request, Pool) of
        ok -> {[], Stream};
        full -> event({failed, queue_full}, Stream)
    end.

%% The worker has granted credit: pass on what is there, at most that much.
forward_body(#stream{body_sent = true} = Stream) ->
    {[], Stream};
forward_body(#stream{body_credit = 0, body_done = false} = Stream) ->
    {[], Stream};
forward_body(#stream{worker = undefined} = Stream) ->
    {[], Stream};
forward_body(#stream{exchange = 0} = Stream) ->
    {[], Stream};
forward_body(#stream{pending = Pending, body_credit = Credit, body_done = Done} = Stream) ->
    #stream{worker = Worker, exchange = Id} = Stream,
    case body(Pending) of
        <<>> when not Done ->
            {[], Stream};
        <<Now:Credit/binary, Later/binary>> when Later =/= <<>> ->
            _ = Credit > 0 andalso hornbeam_worker:body(Worker, Id, false, Now),
            {[], Stream#stream{
                pending = [Later], pending_size = byte_size(Later), body_credit = 0
            }};
        All ->
            ok = hornbeam_worker:body(Worker, Id, Done, All),
            {[], Stream#stream{
                pending = [],
                pending_size = 0,
                body_credit = Credit - byte_size(All),
                body_sent = Done
            }}
    end.

%%% Answers in

event({response, Status, Headers, Body}, #stream{phase = waiting} = Stream0) ->
    Stream = #stream{context = Context} = unread(Stream0),
    {hornbeam_response:whole(Status, Headers, Body, Context), Stream#stream{phase = closed}};
event({head, Status, Headers}, #stream{phase = waiting} = Stream0) ->
    Stream = #stream{context = #{method := Method} = Context} = unread(Stream0),
    HasBody = Method =/= <<"HEAD">> andalso Status =/= 204 andalso Status =/= 304,
    {hornbeam_response:head(Status, Headers, Context),
        Stream#stream{phase = streaming, has_body = HasBody}};
event({data, Data}, #stream{has_body = HasBody} = Stream) ->
    {hornbeam_response:data(Data, HasBody), owe(byte_size(Data), Stream)};
event({file, Path, Offset, Bytes}, #stream{has_body = HasBody} = Stream) ->
    {hornbeam_response:file({Path, Offset, Bytes}, HasBody), Stream};
event({fin, Trailers}, #stream{has_body = HasBody, context = Context} = Stream) ->
    {hornbeam_response:fin(Trailers, HasBody, Context), Stream#stream{phase = closed}};
event({inform, Status, Headers}, #stream{phase = waiting} = Stream) ->
    {[{inform, Status, Headers}], Stream};
event({push, Path, Headers}, #stream{req = Req} = Stream) ->
    {hornbeam_response:push(Path, Headers, Req), Stream};
event({credit, N}, #stream{body_credit = Credit} = Stream) ->
    read_on(forward_body(Stream#stream{body_credit = Credit + N}));
event(Failure, Stream) ->
    failed(Failure, Stream).

%% An answer before the whole body was read: what is left of it is not waited for.
unread(#stream{body_done = true} = Stream) -> Stream;
unread(#stream{context = Context} = Stream) -> Stream#stream{context = Context#{close := true}}.

%% Credit goes back in quarters of the window, not per chunk, and when the bytes have left:
%% Cowboy's sending blocks until the kernel has taken them, so a message to ourselves is read
%% after that.
owe(N, #stream{owed = Owed, granting = false, edge = #{response_window := Window}} = Stream) when
    (Owed + N) * 4 >= Window
->
    self() ! {Stream#stream.to, sent},
    Stream#stream{owed = Owed + N, granting = true};
owe(N, #stream{owed = Owed} = Stream) ->
    Stream#stream{owed = Owed + N}.

grant(#stream{phase = streaming, full = [], owed = Owed} = Stream) when Owed > 0 ->
    #stream{worker = Worker, exchange = Id} = Stream,
    ok = hornbeam_worker:credit(Worker, Id, Owed),
    Stream#stream{owed = 0, granting = false};
grant(Stream) ->
    Stream#stream{granting = false}.

%%% What goes wrong

refuse(Status, Reason, #stream{context = #{version := Version} = Context} = Stream) ->
    _ = Version =/= 'HTTP/2' andalso hornbeam_http1_turn:cut(),
    Commands = hornbeam_response:refuse(Status, Reason, Context#{close := true}),
    {Commands, Stream#stream{phase = closed}}.

failed(Failure, #stream{phase = waiting, body_done = Done, context = Context} = Stream) ->
    Closing = Context#{close := not Done orelse maps:get(close, Context)},
    {hornbeam_response:failed(Failure, Closing), Stream#stream{phase = closed}};
failed(_, #stream{phase = streaming} = Stream) ->
    {break(Stream), Stream#stream{phase = closed}};
failed(_, Stream) ->
    {[], Stream}.

%% Break the response off so that nobody takes it for complete. HTTP/2 resets the stream. HTTP/1
%% can only close the connection, and Cowboy has no command for that while a body is being sent:
%% tell it, as a supervisor would, to end.
break(#stream{context = #{version := 'HTTP/2'}}) ->
    [{internal_error, aborted, 'The response was broken off.'}];
break(_) ->
    [Parent | _] = get('$ancestors'),
    self() ! {'EXIT', Parent, {shutdown, response_broken_off}},
    [].

%% The client's body is too large, or does not come.
broken_off({refuse, _, Reason}, #stream{phase = streaming} = Stream) ->
    cancel(Reason, Stream),
    {break(Stream), Stream#stream{phase = closed}};
broken_off({refuse, Status, Reason}, Stream) ->
    cancel(<<"client_gone">>, Stream),
    refuse(Status, Reason, Stream).

cancel(Reason, #stream{phase = Phase, worker = Worker, exchange = Id, to = To} = Stream) when
    Phase =:= waiting; Phase =:= streaming
->
    case {Worker, Id} of
        {undefined, _} -> hornbeam_queue:cancel(To, maps:get(pool, Stream#stream.edge));
        {_, 0} -> hornbeam_worker:cancel(Worker, To);
        {_, _} -> hornbeam_worker:cancel(Worker, Id, Reason)
    end;
cancel(_, _) ->
    ok.

await_body(#stream{edge = #{body_timeout := infinity}} = Stream) ->
    Stream;
await_body(#stream{edge = #{body_timeout := Timeout}, to = To} = Stream) ->
    Timer = erlang:send_after(Timeout, self(), {To, body_deadline}),
    Stream#stream{timer = Timer, body_seen = now_ms()}.

%% Bytes that came since the timer was set move the deadline; so does waiting for the worker to
%% read.
body_deadline(#stream{body_done = true} = Stream) ->
    {[], Stream};
body_deadline(#stream{pending = [_ | _], phase = Phase} = Stream) when Phase =/= gathering ->
    {[], await_body(Stream)};
body_deadline(#stream{body_seen = Seen, edge = #{body_timeout := Timeout}, to = To} = Stream) ->
    case Seen + Timeout - now_ms() of
        Left when Left > 0 ->
            {[], Stream#stream{timer = erlang:send_after(Left, self(), {To, body_deadline})}};
        _ ->
            broken_off({refuse, 408, <<"the body did not come in time">>}, Stream)
    end.

now_ms() -> erlang:monotonic_time(millisecond).
