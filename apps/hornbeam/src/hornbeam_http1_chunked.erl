%% SPDX-License-Identifier: Apache-2.0
%% @doc The connection of an HTTP/1.1 request whose body is chunked: taken over from Cowboy for
%% that one exchange, closed after it.
%%
%% Cowboy's decoder reads as a chunk size what others do not, and leaves trailers in the buffer,
%% where they are taken for the next request; both let a request be smuggled in. So the stream
%% handler switches here: its `init/3' is called once more, with `hornbeam_body => strict' in the
%% request, and the commands it gives are carried out here. Nothing that follows the body is read
%% as a request.
%%
%% Runs in the connection process, in place of `cowboy_http'. The protocol options hold
%% `#{hornbeam => #{limits => hornbeam_edge:limits()}}'. Messages `{{self(), StreamID}, Msg}' go to
%% the handler; it ends with the reason it was given, `{shutdown, cowboy_stream:reason()}'.
-module(hornbeam_http1_chunked).

-export([takeover/7]).
-export([system_continue/3, system_terminate/4, system_code_change/4]).

-include_lib("kernel/include/logger.hrl").

-record(state, {
    parent :: pid(),
    socket :: inet:socket(),
    transport :: module(),
    %% Names of the socket's messages.
    data :: atom(),
    closed :: atom(),
    error :: atom(),
    passive :: atom(),
    %% How long nothing at all may happen; milliseconds.
    inactivity :: timeout(),
    req :: cowboy_req:req(),
    id :: cowboy_stream:streamid(),
    handler :: module(),
    %% The handler's own; undefined until its init/3 has returned.
    stream :: term(),
    decoder :: hornbeam_chunked:state() | over,
    %% Bytes of the body that the handler has asked for and not got.
    flow :: integer(),
    %% The socket will send one message more.
    reading = false :: boolean(),
    output :: hornbeam_http1_commands:output()
}).

%% @doc Called by Cowboy for `{switch_protocol, #{}, ?MODULE, {StreamID, Req, Handler}}'. `Buffer'
%% is what has come of the body; the socket is passive.
-spec takeover(
    pid(), ranch:ref(), inet:socket(), module(), cowboy:opts(), binary(),
    {cowboy_stream:streamid(), cowboy_req:req(), module()}
) -> no_return().
takeover(Parent, _Ref, Socket, Transport, Opts, Buffer, {Id, Req0, Handler}) ->
    %% Cowboy 2.12 has switched it off; the handler is to be told when the parent ends.
    _ = process_flag(trap_exit, true),
    {Data, Closed, Error, Passive} = Transport:messages(),
    #{hornbeam := #{limits := Limits}} = Opts,
    Req = Req0#{hornbeam_body => strict},
    State = #state{
        parent = Parent, socket = Socket, transport = Transport,
        data = Data, closed = Closed, error = Error, passive = Passive,
        inactivity = maps:get(inactivity_timeout, Opts, 300000),
        req = Req, id = Id, handler = Handler,
        decoder = hornbeam_chunked:init(Limits),
        flow = maps:get(initial_stream_flow_size, Opts, 65535),
        output = hornbeam_http1_commands:new(Req)
    },
    Started = call(init, [Id, Req, Opts], State),
    loop(read(received(Buffer, Started))).

-spec loop(#state{}) -> no_return().
loop(#state{socket = Socket, data = Data, closed = Closed, error = Error} = State) ->
    #state{inactivity = Inactivity} = State,
    receive
        {Data, Socket, Bytes} ->
            loop(read(received(Bytes, State#state{reading = false})));
        {Closed, Socket} ->
            terminate({socket_error, closed, 'The socket has been closed.'}, State);
        {Error, Socket, Reason} ->
            terminate({socket_error, Reason, 'An error has occurred on the socket.'}, State);
        Message ->
            loop(read(message(Message, State)))
    after Inactivity ->
        terminate({internal_error, timeout, 'No message or data received before timeout.'}, State)
    end.

message({{Pid, Id}, Message}, #state{id = Id, stream = Stream} = State) when Pid =:= self() ->
    call(info, [Id, Message, Stream], State);
message({{Pid, _}, _}, State) when Pid =:= self() ->
    %% For an earlier request of the connection, which is over.
    State;
message({'EXIT', Parent, Reason}, #state{parent = Parent} = State) ->
    terminate({stop, {exit, Reason}, 'Parent process terminated.'}, State);
message({system, From, Request}, #state{parent = Parent} = State) ->
    sys:handle_system_msg(Request, From, Parent, ?MODULE, [], State);
message({'$gen_call', From, Call}, State) ->
    %% To its supervisor this process is one, too.
    _ = cowboy_children:handle_supervisor_call(Call, From, [], ?MODULE),
    State;
message({Passive, Socket}, #state{passive = Passive, socket = Socket} = State) ->
    %% Left over from Cowboy's way of reading.
    State;
message(_, State) ->
    ?LOG_WARNING(#{what => stray_message_dropped, process => ?MODULE}, #{domain => [hornbeam,
        http]}),
    State.

%%% The request body

%% Bytes after the body belong to no request: this connection ends with this one.
received(_, #state{decoder = over} = State) ->
    State;
received(<<>>, State) ->
    State;
received(Bytes, #state{decoder = Decoder0} = State) ->
    case hornbeam_chunked:feed(Bytes, Decoder0) of
        {more, [], Decoder} ->
            State#state{decoder = Decoder};
        {more, Pieces, Decoder} ->
            body(nofin, joined(Pieces), State#state{decoder = Decoder});
        %% The trailers were checked; the gateway interfaces of Python have no place for them.
        {done, Pieces, _Trailers, _Rest} ->
            body(fin, joined(Pieces), State#state{decoder = over});
        {error, Reason} ->
            refuse(Reason, State)
    end.

joined([Piece]) -> Piece;
joined(Pieces) -> iolist_to_binary(Pieces).

body(Fin, Data, #state{id = Id, stream = Stream, flow = Flow} = State) ->
    call(data, [Id, Fin, Data, Stream], State#state{flow = Flow - byte_size(Data)}).

%% Also behind the body: only a socket that is read tells that the client has gone.
read(#state{decoder = Decoder, flow = Flow} = State) when Decoder =/= over, Flow =< 0 ->
    State;
read(#state{reading = true} = State) ->
    State;
read(#state{transport = Transport, socket = Socket} = State) ->
    case Transport:setopts(Socket, [{active, once}]) of
        ok -> State#state{reading = true};
        {error, _} -> terminate({socket_error, closed, 'The socket has been closed.'}, State)
    end.

-spec refuse(hornbeam_chunked:reason(), #state{}) -> no_return().
refuse(Reason, State) ->
    {Status, Text} = hornbeam_chunked:refusal(Reason),
    terminate({connection_error, Reason, 'The chunked body is not acceptable.'},
        answer(Status, Text, State)).

%% Of the node itself, where there is none yet.
answer(Status, Text, #state{output = Output, req = #{method := Method}} = State) ->
    case hornbeam_http1_commands:is_headless(Output) of
        true ->
            Context = #{method => Method, version => 'HTTP/1.1', close => true},
            [Response | _] = hornbeam_response:refuse(Status, Text, Context),
            commands([Response], State);
        false ->
            State
    end.

%%% The handler

-spec call(init | data | info, [term()], #state{}) -> #state{}.
call(Callback, Arguments, #state{handler = Handler} = State) ->
    try apply(Handler, Callback, Arguments) of
        {Commands, Stream} -> commands(Commands, State#state{stream = Stream})
    catch
        Class:Reason:Stacktrace ->
            crashed(Callback, {Class, Reason, Stacktrace}, State),
            fail({internal_error, {Class, Reason}, 'The stream handler crashed.'}, State)
    end.

commands([], State) ->
    State;
commands([Command | Commands], #state{output = Output0} = State) ->
    {Effects, Output} = hornbeam_http1_commands:run(Command, Output0),
    commands(Commands, lists:foldl(fun effect/2, State#state{output = Output}, Effects)).

effect({send, Data}, #state{transport = Transport, socket = Socket} = State) ->
    case Transport:send(Socket, Data) of
        ok -> State;
        {error, Reason} -> unsendable(Reason, State)
    end;
effect({sendfile, Path, Offset, Bytes}, #state{transport = Transport, socket = Socket} = State) ->
    case Transport:sendfile(Socket, Path, Offset, Bytes) of
        {ok, Bytes} -> State;
        {ok, _} -> unsendable(file_too_short, State);
        {error, Reason} -> unsendable(Reason, State)
    end;
effect({flow, _}, #state{decoder = over} = State) ->
    State;
effect({flow, Bytes}, #state{flow = Flow} = State) ->
    %% What came beyond the flow is no debt, or the handler would wait for what it asked for.
    State#state{flow = max(Flow, 0) + Bytes};
effect({log, Level, Format, Arguments}, State) ->
    ?LOG(Level, Format, Arguments, #{domain => [hornbeam, http]}),
    State;
effect(stop, State) ->
    terminate(normal, answer(500, <<"there was no answer">>, State));
effect({fail, Reason}, State) ->
    fail(Reason, State).

-spec unsendable(atom(), #state{}) -> no_return().
unsendable(Reason, State) ->
    terminate({socket_error, Reason, 'The response could not be sent.'}, State).

-spec fail(cowboy_stream:reason(), #state{}) -> no_return().
fail(Reason, State) ->
    terminate(Reason, answer(500, <<"the server failed">>, State)).

%%% The end

-spec terminate(cowboy_stream:reason(), #state{}) -> no_return().
terminate(Reason, #state{handler = Handler, id = Id, stream = Stream} = State) ->
    #state{transport = Transport, socket = Socket} = State,
    try
        _ = Stream =/= undefined andalso Handler:terminate(Id, Reason, Stream)
    catch
        Class:Error:Stacktrace ->
            crashed(terminate, {Class, Error, Stacktrace}, State)
    end,
    ok = hornbeam_linger:close(Transport, Socket),
    exit({shutdown, Reason}).

crashed(Callback, {Class, Reason, Stacktrace}, #state{handler = Handler}) ->
    ?LOG_ERROR(
        #{what => stream_handler_failed, handler => Handler, callback => Callback,
            class => Class, reason => Reason, stacktrace => Stacktrace},
        #{domain => [hornbeam, http]}).

%%% Callbacks of sys

-spec system_continue(pid(), [sys:debug_option()], #state{}) -> no_return().
system_continue(_, _, State) ->
    loop(State).

-spec system_terminate(term(), pid(), [sys:debug_option()], #state{}) -> no_return().
system_terminate(Reason, _, _, State) ->
    terminate({stop, {exit, Reason}, 'sys:terminate/2,3 was called.'}, State).

-spec system_code_change(#state{}, module(), term(), term()) -> {ok, #state{}}.
system_code_change(State, _, _, _) ->
    {ok, State}.
