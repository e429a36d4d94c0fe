%% SPDX-License-Identifier: Apache-2.0
%% @doc A client that sends bytes as they are and tells what came back: for tests of what no
%% well-behaved client library sends.
%% Runs in: the test process. Every wait is bounded.
-module(raw_http).

-export([connect/1, close/1, send/2, receive_some/1, exchange/2, response/1, rest/1]).
-export_type([response/0]).

-define(TIMEOUT, 30000).

-type response() ::
    {Status :: 100..999, Headers :: [{binary(), binary()}], Body :: binary(), Rest :: binary()}
    %% The connection ended, or timed out, before a whole response; these bytes had come.
    | {closed, binary()}
    | {timeout, binary()}.

-spec connect(inet:port_number()) -> gen_tcp:socket().
connect(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}], ?TIMEOUT),
    Socket.

-spec close(gen_tcp:socket()) -> ok.
close(Socket) ->
    gen_tcp:close(Socket).

%% @doc Sends; a peer that has gone is not an error here but shows in what is received.
-spec send(gen_tcp:socket(), iodata()) -> ok.
send(Socket, Data) ->
    case gen_tcp:send(Socket, Data) of
        ok -> ok;
        {error, Reason} when Reason =:= closed; Reason =:= epipe; Reason =:= econnreset -> ok
    end.

-spec receive_some(gen_tcp:socket()) -> {ok, binary()} | {error, term()}.
receive_some(Socket) ->
    gen_tcp:recv(Socket, 0, ?TIMEOUT).

%% @doc One request on a connection of its own, and the first final response to it.
-spec exchange(inet:port_number(), iodata()) -> response().
exchange(Port, Request) ->
    Socket = connect(Port),
    ok = send(Socket, Request),
    Response = final(Socket, <<>>),
    ok = close(Socket),
    Response.

final(Socket, Buffer) ->
    case response(Socket, Buffer) of
        {Status, _, _, Rest} when is_integer(Status), Status < 200 -> final(Socket, Rest);
        Response -> Response
    end.

%% @doc The next response, informational ones included.
-spec response(gen_tcp:socket()) -> response().
response(Socket) ->
    response(Socket, <<>>).

response(Socket, Buffer) ->
    case binary:match(Buffer, <<"\r\n\r\n">>) of
        nomatch -> more(Socket, Buffer, fun response/2);
        _ -> head(Socket, Buffer)
    end.

head(Socket, Buffer) ->
    {ok, {http_response, _, Status, _}, Rest} = erlang:decode_packet(http_bin, Buffer, []),
    {Headers, Body} = headers(Rest, []),
    body(Socket, Status, Headers, Body).

headers(Buffer, Headers) ->
    case erlang:decode_packet(httph_bin, Buffer, []) of
        {ok, {http_header, _, Name, _, Value}, Rest} ->
            headers(Rest, [{string:lowercase(name(Name)), Value} | Headers]);
        {ok, http_eoh, Rest} ->
            {lists:reverse(Headers), Rest}
    end.

name(Name) when is_atom(Name) -> atom_to_binary(Name);
name(Name) -> Name.

body(_, Status, Headers, Buffer) when Status < 200; Status =:= 204; Status =:= 304 ->
    {Status, Headers, <<>>, Buffer};
body(Socket, Status, Headers, Buffer) ->
    case lists:keyfind(<<"content-length">>, 1, Headers) of
        {_, Length} ->
            sized(Socket, Status, Headers, binary_to_integer(Length), Buffer);
        false ->
            case lists:keymember(<<"transfer-encoding">>, 1, Headers) of
                true -> chunked(Socket, Status, Headers, <<>>, Buffer);
                false -> {Status, Headers, <<Buffer/binary, (rest(Socket))/binary>>, <<>>}
            end
    end.

sized(Socket, Status, Headers, Size, Buffer) ->
    case Buffer of
        <<Body:Size/binary, Rest/binary>> -> {Status, Headers, Body, Rest};
        _ -> more(Socket, Buffer, fun(S, B) -> sized(S, Status, Headers, Size, B) end)
    end.

chunked(Socket, Status, Headers, Body, Buffer) ->
    Again = fun(S, B) -> chunked(S, Status, Headers, Body, B) end,
    case binary:split(Buffer, <<"\r\n">>) of
        [Hex, Rest] ->
            Size = binary_to_integer(Hex, 16),
            case Rest of
                <<"\r\n", After/binary>> when Size =:= 0 ->
                    {Status, Headers, Body, After};
                <<Data:Size/binary, "\r\n", After/binary>> when Size > 0 ->
                    chunked(Socket, Status, Headers, <<Body/binary, Data/binary>>, After);
                _ ->
                    more(Socket, Buffer, Again)
            end;
        [_] ->
            more(Socket, Buffer, Again)
    end.

more(Socket, Buffer, Continue) ->
    case receive_some(Socket) of
        {ok, Data} -> Continue(Socket, <<Buffer/binary, Data/binary>>);
        {error, timeout} -> {timeout, Buffer};
        {error, _} -> {closed, Buffer}
    end.

%% @doc Everything until the peer closes.
-spec rest(gen_tcp:socket()) -> binary().
rest(Socket) ->
    case receive_some(Socket) of
        {ok, Data} -> <<Data/binary, (rest(Socket))/binary>>;
        {error, Reason} when Reason =:= closed; Reason =:= econnreset -> <<>>
    end.
