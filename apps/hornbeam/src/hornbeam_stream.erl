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
    %% Where the application takes WebSockets.
    websocket => hornbeam_websocket_stream:options(),
    %% For hornbeam_request_hooks_stream, which comes before this handler when there are any.
    hooks => hornbeam_request_hooks:hooks()
}.

-record(stream, {
    to :: hornbeam_exchanges:to(),
    edge :: edge(),
    req :: cowboy_req:req(),
    context :: hornbeam_response:context(),
    phase = gathering :: gathering | waiting | streaming | upgraded | closed,
    %% of a WebSocket that is not accepted
    handshake = undefined :: undefined | hornbeam_websocket_handshake:handshake(),
    body = hornbeam_request_body:new() :: hornbeam_request_body:body(),
    %% the worker process and the exchange, as soon as they are known
    worker = undefined :: undefined | pid(),
    exchange = 0 :: non_neg_integer(),
    %% of a response that streams, or may
    flow = undefined :: undefined | hornbeam_response_flow:flow(),
    has_body = true :: boolean()
}).

%% An accepted WebSocket over HTTP/2 is no request any more.
-type state() :: #stream{} | {websocket, hornbeam_websocket_stream:state()} | refused.

%%% Cowboy's callbacks

-spec init(cowboy_stream:streamid(), cowboy_req:req(), cowboy:opts()) ->
    {cowboy_stream:commands(), state()}.
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
    ok = hornbeam_connection:read_more(Req),
    case hornbeam_http1_turn:is_cut() orelse hornbeam_request:admit(StreamID, Req, Edge) of
        ok -> checked(Req, Stream);
        {refuse, Status, Reason} -> refuse(Status, Reason, Stream);
        true -> {[], Stream#stream{phase = closed}}
    end.

checked(#{headers := #{<<"upgrade">> := _}} = Req, Stream) -> handshake(Req, Stream);
checked(#{protocol := _} = Req, Stream) -> handshake(Req, Stream);
checked(Req, Stream) -> accepted(Req, Stream).

handshake(Req, #stream{edge = Edge, context = Context} = Stream0) ->
    case hornbeam_websocket_stream:check(Req, Edge) of
        none ->
            accepted(Req, Stream0);
        {ok, #{subprotocols := Subprotocols} = Handshake} ->
            Stream = Stream0#stream{
                handshake = Handshake,
                context = Context#{close := true},
                body = hornbeam_request_body:none()
            },
            hand_over(hornbeam_request:websocket(Req, Subprotocols), Stream);
        {refuse, Status, Reason, Headers} ->
            {[{response, _, Answer, Text}, Stop], Stream} = refuse(Status, Reason, Stream0),
            {[{response, Status, maps:merge(Headers, Answer), Text}, Stop], Stream}
    end.

accepted(#{has_body := false}, Stream) ->
    dispatch(<<>>, Stream#stream{body = hornbeam_request_body:none()});
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

-spec data(cowboy_stream:streamid(), cowboy_stream:fin(), binary(), state()) ->
    {cowboy_stream:commands(), state()}.
data(_, _, _, refused) ->
    {[], refused};
data(_, Fin, Data, {websocket, Socket}) ->
    websocket(hornbeam_websocket_stream:data(Fin, Data, Socket));
data(_, _, _, #stream{phase = closed} = Stream) ->
    {[], Stream};
data(_, Fin, Data, #stream{body = Body0, edge = #{max_body := Max}} = Stream) ->
    Body = hornbeam_request_body:received(Fin, Data, Body0),
    ok = end_is_near(Fin, Data, Body, Stream),
    %% `infinity' is above every number.
    case hornbeam_request_body:size(Body) > Max of
        true -> broken_off({refuse, 413, <<"the body is larger than max_body">>}, Stream);
        false -> more_body(Stream#stream{body = Body})
    end.

%% Over HTTP/2 the end of a body of known length may come behind its last byte: in an empty frame,
%% or as trailers, of which Cowboy does not tell. Whoever is answered before would see the stream
%% reset while it still sends (RFC 9113, 8.1).
end_is_near(nofin, Data, Body, #stream{req = #{version := 'HTTP/2'} = Req, to = To}) when
    Data =/= <<>>
->
    #{body_length := Length} = Req,
    case hornbeam_request_body:size(Body) =:= Length of
        true -> hornbeam_http2_end:watch(To);
        false -> ok
    end;
end_is_near(_, _, _, _) ->
    ok.

more_body(#stream{phase = gathering, body = Body0, edge = #{body_buffer := Buffer}} = Stream) ->
    case {hornbeam_request_body:is_done(Body0), hornbeam_request_body:size(Body0) > Buffer} of
        {true, _} ->
            {Whole, Body} = hornbeam_request_body:take(Body0),
            dispatch(Whole, Stream#stream{body = Body});
        {false, true} ->
            #stream{req = #{body_length := Length}} = Stream,
            {First, Body} = hornbeam_request_body:take(Body0),
            read_on(dispatch({First, Length}, Stream#stream{body = Body}));
        {false, false} ->
            {Commands, Body} = hornbeam_request_body:read_on(gathered, Body0),
            {Commands, Stream#stream{body = Body}}
    end;
more_body(Stream) ->
    read_on(forward_body(Stream)).

read_on({Commands, #stream{body = Body0} = Stream}) ->
    {More, Body} = hornbeam_request_body:read_on(all, Body0),
    {Commands ++ More, Stream#stream{body = Body}}.

-spec info(cowboy_stream:streamid(), term(), state()) -> {cowboy_stream:commands(), state()}.
info(_, _, refused) ->
    {[], refused};
info(_, Message, {websocket, Socket}) ->
    websocket(hornbeam_websocket_stream:info(Message, Socket));
info(_, {hornbeam, Worker, Id, {data, Data}}, #stream{phase = streaming} = Stream) ->
    answered(pieces(Data, Stream#stream{worker = Worker, exchange = Id}));
info(_, {hornbeam, Worker, Id, Event}, #stream{phase = Phase} = Stream) when Phase =/= closed ->
    answered(event(Event, Stream#stream{worker = Worker, exchange = Id}));
info(_, sent, #stream{phase = streaming, flow = Flow} = Stream) ->
    {[], grant(hornbeam_response_flow:sent(Flow), Stream)};
info(StreamID, body_ended, #stream{body = Body} = Stream) ->
    case hornbeam_request_body:is_done(Body) of
        true -> {[], Stream};
        false -> data(StreamID, fin, <<>>, Stream)
    end;
info(_, {alarm, Buffer, OnOff}, Stream) ->
    {[], grant(hornbeam_response_flow:alarm(Buffer, OnOff, flow(Stream)), Stream)};
info(_, body_deadline, #stream{to = To, phase = Phase, body = Body0, edge = Edge} = Stream) ->
    #{body_timeout := Timeout} = Edge,
    case hornbeam_request_body:deadline(Phase =:= gathering, To, Timeout, Body0) of
        late -> broken_off({refuse, 408, <<"the body did not come in time">>}, Stream);
        Body -> {[], Stream#stream{body = Body}}
    end;
info(_, {inform, 101, _} = Inform, #stream{phase = Phase} = Stream) ->
    %% Of the takeover by hornbeam_http1_chunked the client must not hear.
    {[Inform || Phase =:= upgraded], Stream};
info(_, {response, _, _, _} = Response, #stream{phase = Phase} = Stream) when Phase =/= streaming ->
    %% Cowboy ends a stream that answered nothing.
    {[Response], Stream#stream{phase = closed}};
info(_, _, Stream) ->
    {[], Stream}.

websocket({Commands, Socket}) -> {Commands, {websocket, Socket}}.

-spec terminate(cowboy_stream:streamid(), cowboy_stream:reason(), state()) -> ok.
terminate(_, _, refused) ->
    ok;
terminate(_, Reason, {websocket, Socket}) ->
    hornbeam_websocket_stream:terminate(Reason, Socket);
terminate(_, switch_protocol, #stream{edge = #{pool := Pool}}) ->
    hornbeam_pool:closed(Pool);
terminate(StreamID, Reason, #stream{to = To, edge = #{pool := Pool}, body = Body} = Stream) ->
    ok = ended(StreamID, Reason, Stream),
    ok = hornbeam_request_body:forget(To, Body),
    ok = forget_grant(Stream),
    cancel(<<"client_gone">>, Stream),
    hornbeam_pool:closed(Pool).

answered({_, #stream{phase = closed, req = #{version := 'HTTP/2'}, to = {_, Id}}} = Result) ->
    ok = hornbeam_http2_streams:answered(Id),
    Result;
answered(Result) -> Result.

ended(Id, Reason, #stream{context = #{version := 'HTTP/2'}, edge = Edge, to = To}) ->
    ok = hornbeam_http2_end:forget(To),
    #{pool := Pool, keepalive := Keepalive} = Edge,
    case hornbeam_pool:is_draining(Pool) of
        true -> hornbeam_http2_streams:ended(Id, Reason, 0);
        false -> hornbeam_http2_streams:ended(Id, Reason, Keepalive)
    end;
ended(StreamID, _, _) ->
    hornbeam_http1_turn:ended(StreamID).

forget_grant(#stream{flow = undefined}) -> ok;
forget_grant(#stream{to = To, flow = Flow}) -> hornbeam_response_flow:forget(To, Flow).

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

dispatch(Whole, #stream{req = Req, body = Body} = Stream) when is_binary(Whole) ->
    Sent = hornbeam_request_body:sent(Body),
    hand_over(hornbeam_request:encode(Req, Whole), Stream#stream{body = Sent});
dispatch(First, #stream{req = Req} = Stream) ->
    hand_over(hornbeam_request:encode(Req, First), Stream).

hand_over(Request, #stream{to = To, edge = #{pool := Pool}} = Stream0) ->
    Stream = Stream0#stream{phase = waiting},
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

%% Pass on what is there, as soon as it is known to whom.
forward_body(#stream{exchange = 0} = Stream) ->
    {[], Stream};
forward_body(#stream{worker = Worker, exchange = Id, body = Body0} = Stream) ->
    {Part, Body} = hornbeam_request_body:forward(Body0),
    ok = send_body(Worker, Id, Part),
    {[], Stream#stream{body = Body}}.

send_body(_, _, none) -> ok;
send_body(Worker, Id, {Fin, Data}) -> hornbeam_worker:body(Worker, Id, Fin, Data).

%%% Answers in

event({response, Status, Headers, Body}, #stream{phase = waiting} = Stream0) ->
    Stream = #stream{context = Context} = unread(Stream0),
    {hornbeam_response:whole(Status, Headers, Body, Context), Stream#stream{phase = closed}};
event({head, Status, Headers}, #stream{phase = waiting} = Stream0) ->
    Stream = #stream{context = #{method := Method} = Context} = unread(Stream0),
    HasBody = Method =/= <<"HEAD">> andalso Status =/= 204 andalso Status =/= 304,
    {hornbeam_response:head(Status, Headers, Context),
        Stream#stream{phase = streaming, has_body = HasBody, flow = flow(Stream)}};
event({file, Path, Offset, Bytes}, #stream{has_body = HasBody} = Stream) ->
    {hornbeam_response:file({Path, Offset, Bytes}, HasBody), Stream};
event({fin, Trailers}, #stream{has_body = HasBody, context = Context} = Stream) ->
    {hornbeam_response:fin(Trailers, HasBody, Context), Stream#stream{phase = closed}};
event({inform, Status, Headers}, #stream{phase = waiting} = Stream) ->
    {[{inform, Status, Headers}], Stream};
event({push, Path, Headers}, #stream{req = Req} = Stream) ->
    {hornbeam_response:push(Path, Headers, Req), Stream};
event({accept, Subprotocol, Headers}, #stream{phase = waiting, edge = Edge} = Stream) ->
    #stream{handshake = Handshake, to = To, worker = Worker, exchange = Id, body = Body} = Stream,
    Answer = {Subprotocol, Headers},
    case hornbeam_websocket_stream:accept(Handshake, Answer, {Worker, Id, To}, Edge) of
        {Commands, taken_over} -> {Commands, Stream#stream{phase = upgraded}};
        Accepted -> websocket(hornbeam_websocket_stream:early(Body, Accepted))
    end;
event({credit, N}, #stream{body = Body} = Stream) ->
    read_on(forward_body(Stream#stream{body = hornbeam_request_body:credit(N, Body)}));
event(Failure, Stream) ->
    failed(Failure, Stream).

%% An answer before the whole body was read: what is left of it is not waited for.
unread(#stream{body = Body, context = Context} = Stream) ->
    case hornbeam_request_body:is_done(Body) of
        true -> Stream;
        false -> Stream#stream{context = Context#{close := true}}
    end.

%% Over HTTP/2 Cowboy gathers, and the mailbox holds what is for other streams.
pieces(Data, #stream{context = #{version := 'HTTP/2'}} = Stream) ->
    piece(Data, Stream);
pieces(First, #stream{to = To, worker = Worker, exchange = Id} = Stream) ->
    case hornbeam_response_flow:gather(To, Worker, Id, First) of
        {Data, none} ->
            piece(Data, Stream);
        {Data, {event, {fin, Trailers}}} when map_size(Trailers) =:= 0 ->
            #stream{has_body = HasBody, context = Context} = Stream,
            {hornbeam_response:last(Data, HasBody, Context), Stream#stream{phase = closed}};
        {Data, {event, Event}} ->
            {Commands, Sent} = piece(Data, Stream),
            prepend(Commands, event(Event, Sent))
    end.

piece(Data, #stream{to = To, has_body = HasBody, flow = Flow} = Stream) ->
    Owing = hornbeam_response_flow:owe(iolist_size(Data), To, Flow),
    {hornbeam_response:data(Data, HasBody), Stream#stream{flow = Owing}}.

flow(#stream{flow = undefined, edge = #{response_window := Window}}) ->
    hornbeam_response_flow:new(Window);
flow(#stream{flow = Flow}) ->
    Flow.

grant({0, Flow}, Stream) ->
    Stream#stream{flow = Flow};
grant({N, Flow}, #stream{worker = Worker, exchange = Id} = Stream) ->
    ok = hornbeam_worker:credit(Worker, Id, N),
    Stream#stream{flow = Flow}.

%%% What goes wrong

refuse(Status, Reason, #stream{context = #{version := Version} = Context} = Stream) ->
    _ = Version =/= 'HTTP/2' andalso hornbeam_http1_turn:cut(),
    Commands = hornbeam_response:refuse(Status, Reason, Context#{close := true}),
    answered({Commands, Stream#stream{phase = closed}}).

failed(Failure, #stream{phase = waiting} = Stream) ->
    #stream{context = Context} = unread(Stream),
    {hornbeam_response:failed(Failure, Context), Stream#stream{phase = closed}};
failed(_, #stream{phase = streaming} = Stream) ->
    {hornbeam_connection:break_off(Stream#stream.req), Stream#stream{phase = closed}};
failed(_, Stream) ->
    {[], Stream}.

%% The client's body is too large, or does not come.
broken_off({refuse, _, Reason}, #stream{phase = streaming} = Stream) ->
    cancel(Reason, Stream),
    {hornbeam_connection:break_off(Stream#stream.req), Stream#stream{phase = closed}};
broken_off({refuse, Status, Reason}, Stream) ->
    cancel(<<"client_gone">>, Stream),
    refuse(Status, Reason, Stream).

cancel(Reason, #stream{phase = Phase, worker = Worker, exchange = Id, to = To} = Stream) when
    Phase =:= waiting; Phase =:= streaming
->
    case Id of
        %% Who has it is not known for sure: a worker may have handed it back.
        0 -> hornbeam_queue:cancel(To, maps:get(pool, Stream#stream.edge));
        _ -> hornbeam_worker:cancel(Worker, Id, Reason)
    end;
cancel(_, _) ->
    ok.

await_body(#stream{edge = #{body_timeout := Timeout}, to = To, body = Body} = Stream) ->
    Stream#stream{body = hornbeam_request_body:await(To, Timeout, Body)}.
