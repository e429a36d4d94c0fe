%% SPDX-License-Identifier: Apache-2.0
%% @doc The beginning of a client's connection: the TLS handshake with the certificates of now,
%% which version of HTTP is spoken, whether it is switched on. Then Cowboy takes over.
%%
%% Runs in: the connection process, started by ranch for each connection (`ranch_protocol'). The
%% options are Cowboy's; `protocols' decides, and `hornbeam' holds `name' and `scheme'. Until Cowboy
%% has it, the process does not trap exits: it holds nothing. The options are in a persistent term,
%% of which no process has a copy: an idle connection would be mostly that.
-module(hornbeam_connection).
-behaviour(ranch_protocol).

-export([set_options/2, forget_options/1]).
-export([start_link/3, init/3, scheme/0, refused_upgrade/2]).
-export([first_buffer/0, read_more/1, read_more/2, active/3, break_off/1]).

-record(connection, {
    parent :: pid(),
    ref :: ranch:ref(),
    socket :: ranch_transport:socket(),
    transport :: module(),
    opts :: cowboy:opts(),
    %% When a client must have sent the head of its first request; monotonic milliseconds.
    deadline :: integer()
}).

%% Process dictionary: what Cowboy does not tell of its connection.
-define(SCHEME, hornbeam_scheme).
-define(SOCKET, hornbeam_socket).
-define(READS_MORE, hornbeam_reads_more).
%% Bytes. A buffer of this size is kept by the driver for a socket that it has found nothing to read
%% at, until something comes; the next one is as large as the option says then.
-define(FIRST_BUFFER, 512).
-define(BUFFER, 16384).
%% Bytes of a first head that are looked at.
-define(MAX_HEAD, 16384).

%% @doc What the connections of a listener are served with; to be called before it starts.
-spec set_options(ranch:ref(), cowboy:opts()) -> ok.
set_options(Ref, Opts) ->
    persistent_term:put({?MODULE, Ref}, Opts).

%% @doc The listener has ended, with all its connections.
-spec forget_options(ranch:ref()) -> ok.
forget_options(Ref) ->
    _ = persistent_term:erase({?MODULE, Ref}),
    ok.

-spec start_link(ranch:ref(), module(), ?MODULE) -> {ok, pid()}.
start_link(Ref, Transport, ?MODULE) ->
    {ok, proc_lib:spawn_link(?MODULE, init, [self(), Ref, Transport])}.

-spec init(pid(), ranch:ref(), module()) -> no_return().
init(Parent, Ref, Transport) ->
    #{hornbeam := #{name := Name, scheme := Scheme}} = Opts = persistent_term:get({?MODULE, Ref}),
    {ok, Socket} =
        case Scheme of
            <<"https">> -> ranch:handshake(Ref, hornbeam_tls:handshake_options(Name));
            <<"http">> -> ranch:handshake(Ref)
        end,
    _ = put(?SCHEME, Scheme),
    _ = put(?SOCKET, {Transport, Socket}),
    begin_with(negotiated(Scheme, Socket), #connection{
        parent = Parent, ref = Ref, socket = Socket, transport = Transport, opts = Opts,
        deadline = now_ms() + maps:get(request_timeout, Opts)
    }).

negotiated(<<"https">>, Socket) ->
    case ssl:negotiated_protocol(Socket) of
        {ok, Protocol} -> Protocol;
        {error, _} -> none
    end;
negotiated(<<"http">>, _) ->
    none.

%% The listener offers by ALPN only what is switched on. (RFC 7301, 3.2)
begin_with(<<"h2">>, Connection) ->
    serve_http2(cowboy_http2, <<>>, Connection);
begin_with(_, Connection) ->
    first_bytes(<<>>, Connection).

%%% Without ALPN the first bytes tell

first_bytes(Before, #connection{socket = Socket, transport = Transport} = Connection) ->
    case Transport:recv(Socket, 0, max(0, Connection#connection.deadline - now_ms())) of
        {ok, More} ->
            Bytes = <<Before/binary, More/binary>>,
            looked(hornbeam_preface:look(Bytes), Bytes, Connection);
        {error, timeout} when Before =/= <<>> ->
            %% Cowboy knows how to answer half a request.
            looked({http1, Before}, Before, Connection);
        {error, _} ->
            Transport:close(Socket)
    end.

looked(more, Bytes, Connection) when byte_size(Bytes) < ?MAX_HEAD ->
    first_bytes(Bytes, Connection);
looked(more, Bytes, Connection) ->
    looked({http1, Bytes}, Bytes, Connection);
looked(Spoken, Bytes, #connection{opts = #{protocols := Protocols, hornbeam := Edge}} = C) ->
    case {Spoken, Protocols, Edge} of
        {http2, [http], _} -> refuse(<<"HTTP/2 is switched off">>, C);
        {http2, [http2], #{scheme := <<"https">>}} -> refuse(<<"HTTP/2 needs ALPN">>, C);
        {http2, [http2], _} -> serve_http2(cowboy_http2, Bytes, C);
        %% Cowboy goes over to cowboy_http2, or answers that over TLS ALPN is needed.
        {http2, _, _} -> serve_http2(cowboy_http, Bytes, C);
        {{http1, _}, [http2], _} -> refuse(<<"only HTTP/2 is spoken here">>, C);
        {{http1, Changed}, _, _} -> serve_http1(Changed, C)
    end.

serve_http2(Protocol, Bytes, #connection{opts = Opts} = Connection) ->
    ok = hornbeam_http2_streams:start(maps:get(request_timeout, Opts)),
    ok = put_back(Bytes, Connection),
    serve(Protocol, Connection).

serve_http1(Bytes, #connection{socket = Socket, transport = Transport} = Connection) ->
    ok = put_back(Bytes, Connection),
    %% Cowboy says for how long, see active/3; it notices, too, where the client has left.
    _ = begin_to_read(Transport, Socket),
    serve(cowboy_http, Connection).

%% What has been read is put where Cowboy will look first: the socket is passive until then.
put_back(<<>>, _) ->
    ok;
put_back(Bytes, #connection{socket = Socket, transport = Transport}) ->
    self() ! {element(1, Transport:messages()), Socket, Bytes},
    ok.

serve(Protocol, #connection{parent = Parent, ref = Ref, opts = Opts} = Connection) ->
    #connection{socket = Socket, transport = Transport} = Connection,
    _ = process_flag(trap_exit, true),
    Protocol:init(Parent, Ref, Socket, Transport, undefined, Opts).

%%% Refusals, in words that every client of HTTP/1.1 reads

refuse(Reason, #connection{socket = Socket, transport = Transport}) ->
    _ = Transport:send(Socket, answer(505, Reason)),
    hornbeam_linger:close(Transport, Socket).

answer(Status, Reason) ->
    Context = #{method => <<"GET">>, version => 'HTTP/1.1', close => true},
    [{response, _, Headers, Body}, stop] = hornbeam_response:refuse(Status, Reason, Context),
    [cow_http:response(Status, 'HTTP/1.1', maps:to_list(Headers)), Body].

%% @doc To be asked when a stream starts: true when its request is an upgrade to HTTP/2 that Cowboy
%% has taken (`hornbeam_preface'). The client has an answer over HTTP/1.1 then, and the connection
%% ends as soon as Cowboy looks at its messages.
-spec refused_upgrade(cowboy_req:req(), hornbeam_pool:pool()) -> boolean().
refused_upgrade(#{version := 'HTTP/1.1', headers := Headers}, Pool) ->
    hornbeam_preface:is_upgrade(Headers) andalso refuse_upgrade(Pool);
refused_upgrade(_, _) ->
    false.

%% Cowboy has forgotten the streams that were open, and does not tell them that they end.
refuse_upgrade(Pool) ->
    _ = [hornbeam_pool:closed(Pool) || _ <- lists:seq(1, hornbeam_http1_turn:open())],
    {Transport, Socket} = get(?SOCKET),
    _ = Transport:send(Socket,
        answer(400, <<"HTTP/2 is not reached by upgrade; use prior knowledge">>)),
    [Parent | _] = get('$ancestors'),
    self() ! {'EXIT', Parent, {shutdown, upgrade_refused}},
    true.

%% @doc `<<"https">>' over TLS, else `<<"http">>', whatever the client says (RFC 9113, 8.3.1, lets
%% it say anything).
-spec scheme() -> binary().
scheme() -> get(?SCHEME).

%% @doc Bytes that are read at once when a connection begins.
-spec first_buffer() -> ?FIRST_BUFFER.
first_buffer() -> ?FIRST_BUFFER.

%% @doc To be called for each request: larger reads from the first one on that is no handshake of
%% a WebSocket.
-spec read_more(cowboy_req:req()) -> ok.
read_more(#{headers := #{<<"upgrade">> := _}}) ->
    ok;
read_more(_) ->
    case get(?READS_MORE) of
        true ->
            ok;
        undefined ->
            _ = put(?READS_MORE, true),
            {Transport, Socket} = get(?SOCKET),
            read_more(Transport, Socket)
    end.

%% @doc `read_more/1' for a socket that has left Cowboy.
-spec read_more(module(), ranch_transport:socket()) -> ok.
read_more(Transport, Socket) ->
    %% It fails where the client has left, which the next read tells, too.
    _ = Transport:setopts(Socket, [{buffer, ?BUFFER}]),
    ok.

%% @doc Asks a passive socket for N reads. Told N at once the driver would look first whether there
%% is something, and when there is nothing it would keep the buffer; a WebSocket may be idle for
%% hours.
-spec active(module(), ranch_transport:socket(), pos_integer()) -> ok | {error, term()}.
active(Transport, Socket, N) ->
    case begin_to_read(Transport, Socket) of
        ok -> Transport:setopts(Socket, [{active, N}]);
        {error, _} = Error -> Error
    end.

%% Over TLS it is another process that reads.
begin_to_read(ranch_tcp, Socket) -> ranch_tcp:setopts(Socket, [{active, true}]);
begin_to_read(_, _) -> ok.

%% @doc Break a response off so that nobody takes it for complete. HTTP/2 resets the stream. HTTP/1
%% can only close the connection, and Cowboy has no command for that while a body is being sent:
%% it is told, as a supervisor would tell it, to end.
-spec break_off(cowboy_req:req()) -> cowboy_stream:commands().
break_off(#{version := 'HTTP/2'}) ->
    [{internal_error, aborted, 'The response was broken off.'}];
break_off(_) ->
    [Parent | _] = get('$ancestors'),
    self() ! {'EXIT', Parent, {shutdown, response_broken_off}},
    [].

now_ms() -> erlang:monotonic_time(millisecond).
